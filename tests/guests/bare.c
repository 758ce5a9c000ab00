/*
 * The least monitor (bare.h).
 */
#include "bare.h"
#include "vmm/cpuid.h"

static bool
bare_mmio_read(void *arg, uint64_t gpa, unsigned size, uint64_t *data)
{
	struct bare *b = arg;

	(void)size;
	if (b->b_gpa == 0 || gpa != b->b_gpa)
		return (false);
	b->b_reads++;
	*data = b->b_value;
	return (true);
}

static bool
bare_mmio_write(void *arg, uint64_t gpa, unsigned size, uint64_t data)
{
	struct bare *b = arg;

	(void)size;
	if (b->b_gpa == 0 || gpa != b->b_gpa)
		return (false);
	b->b_writes++;
	b->b_value = data;
	return (true);
}

static bool
bare_rdmsr(void *arg, uint32_t msr, uint64_t *value)
{
	(void)arg;
	(void)msr;
	(void)value;
	return (false);
}

static bool
bare_wrmsr(void *arg, uint32_t msr, uint64_t value)
{
	(void)arg;
	(void)msr;
	(void)value;
	return (false);
}

static uint64_t
bare_read_cr8(void *arg)
{
	return (((struct bare *)arg)->b_cr8);
}

static void
bare_write_cr8(void *arg, uint64_t value)
{
	((struct bare *)arg)->b_cr8 = value;
}

static void
bare_cpuid(void *arg, struct engine_cpuid *ec)
{
	struct cpuid_policy policy = { .cp_ncpus = 1, .cp_tsc_khz = 1000000 };

	(void)arg;
	cpuid_answer(&policy, ec);
}

const struct engine_host bare_host = {
	bare_mmio_read, bare_mmio_write, bare_rdmsr, bare_wrmsr, bare_read_cr8,
	bare_write_cr8, bare_cpuid
};
