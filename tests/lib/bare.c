/*
 * The least monitor (bare.h).
 */
#include "bare.h"

#include <string.h>

#include "engine/soft/cpu.h"
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

bool
bare_rdmsr(void *arg, uint32_t msr, uint64_t *value)
{
	(void)arg, (void)msr, (void)value;
	return (false);
}

bool
bare_wrmsr(void *arg, uint32_t msr, uint64_t value)
{
	(void)arg, (void)msr, (void)value;
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

void
bare_cpuid(void *arg, struct engine_cpuid *ec)
{
	static const struct cpuid_policy policy = {
		.cp_ncpus = 1, .cp_tsc_khz = 1000000
	};

	(void)arg;
	cpuid_answer(&policy, ec);
}

const struct engine_host bare_host = {
	bare_mmio_read, bare_mmio_write, bare_rdmsr, bare_wrmsr, bare_read_cr8,
	bare_write_cr8, bare_cpuid
};

const uint8_t bare_gpr[16] = {
	VCPU_REGS_RAX, VCPU_REGS_RCX, VCPU_REGS_RDX, VCPU_REGS_RBX,
	VCPU_REGS_RSP, VCPU_REGS_RBP, VCPU_REGS_RSI, VCPU_REGS_RDI,
	VCPU_REGS_R8, VCPU_REGS_R9, VCPU_REGS_R10, VCPU_REGS_R11,
	VCPU_REGS_R12, VCPU_REGS_R13, VCPU_REGS_R14, VCPU_REGS_R15
};

void
bare_segment(struct vcpu_segment_info *s, uint16_t sel, uint32_t ar)
{
	s->vsi_sel = sel;
	s->vsi_base = 0;
	s->vsi_limit = UINT32_MAX;
	s->vsi_ar = ar;
}

void
bare_flat(uint8_t *mem, struct vcpu_reg_state *r)
{
	uint64_t gate;
	unsigned n;

	memcpy(mem + BARE_GDT + 8, "\xff\xff\0\0\0\x9b\xcf\0"
	    "\xff\xff\0\0\0\x93\xcf", 16);
	for (n = 0; n < BARE_VECTORS; n++) {
		gate = (BARE_HANDLER + n * 16) | 8 << 16 |
		    (uint64_t)0x8e << 40;
		memcpy(mem + BARE_IDT + n * 8, &gate, 8);
		memcpy(mem + BARE_HANDLER + n * 16, "\xf4\xcf", 2);
	}
	for (n = 0; n < VCPU_REGS_NSREGS; n++)
		bare_segment(&r->vrs_sregs[n], 0x10, 0xc093);
	bare_segment(&r->vrs_sregs[VCPU_REGS_CS], 8, 0xc09b);
	bare_segment(&r->vrs_sregs[VCPU_REGS_TR], 0, 0x8b);
	bare_segment(&r->vrs_sregs[VCPU_REGS_LDTR], 0, 0x82);
	r->vrs_gdtr.vsi_base = BARE_GDT;
	r->vrs_gdtr.vsi_limit = 3 * 8 - 1;
	r->vrs_idtr.vsi_base = BARE_IDT;
	r->vrs_idtr.vsi_limit = BARE_VECTORS * 8 - 1;
	r->vrs_crs[VCPU_REGS_CR0] = CR0_PE | CR0_ET | CR0_NE;
}
