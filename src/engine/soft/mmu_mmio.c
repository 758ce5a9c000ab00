/*
 * Accesses outside guest memory.
 *
 * The monitor answers at once or not at all. What it does not answer leaves
 * run(), and the instruction starts anew with the answer; the accesses that it
 * had made before are then taken from the log, so that no device sees one
 * twice.
 *
 * 1. ml_access[0, ml_count) are answered, [0, ml_next) of them have been used
 *    by this execution of the instruction ml_insn.
 * 2. An instruction that accesses a device is executed by itself (run_alone()):
 *    what the device then asks for is there at its end, as on a bus where a
 *    write has arrived before the next instruction.
 * 3. Accesses made while an event is delivered cannot leave run(): where the
 *    monitor does not answer they meet an empty bus.
 */
#include "base/log.h"
#include "engine/soft/cpu.h"
#include "engine/soft/mmu.h"
#include "engine/soft/run.h"

#define BUS_EMPTY	UINT64_MAX

static uint64_t
mmio_mask(unsigned size)
{
	return (size == 8 ? UINT64_MAX : (1ul << size * 8) - 1);
}

void
mmu_mmio_reset(struct cpu *c)
{
	c->c_mmio.ml_insn = NULL;
	c->c_mmio.ml_count = c->c_mmio.ml_next = 0;
	c->c_mmio.ml_replay = c->c_mmio.ml_wanted = false;
}

void
mmu_mmio_complete(struct cpu *c, uint64_t data)
{
	struct mmio_log *l = &c->c_mmio;

	if (!l->ml_wanted)
		return;
	l->ml_wanted = false;
	if (!l->ml_access[l->ml_count].write)
		l->ml_access[l->ml_count].data = data;
	l->ml_count++;
}

/*
 * The logged access that this one is, or NULL. A restarted instruction that
 * does something else than before (memory changed under it) forgets the rest.
 */
static bool
mmio_logged(struct cpu *c, uint64_t gpa, unsigned size, bool write,
    uint64_t *data)
{
	struct mmio_log *l = &c->c_mmio;

	if (l->ml_insn != c->c_insn) {
		if (!l->ml_replay)
			l->ml_count = l->ml_next = 0;
		l->ml_replay = false;
		l->ml_insn = c->c_insn;
		cpu_request(c, REQ_MMIO);
	}
	if (l->ml_next == l->ml_count)
		return (false);
	if (l->ml_access[l->ml_next].gpa != gpa ||
	    l->ml_access[l->ml_next].size != size ||
	    l->ml_access[l->ml_next].write != write) {
		l->ml_count = l->ml_next;
		return (false);
	}
	*data = l->ml_access[l->ml_next++].data;
	return (true);
}

static bool
mmio_append(struct cpu *c, uint64_t gpa, unsigned size, bool write,
    uint64_t data)
{
	struct mmio_log *l = &c->c_mmio;

	if (l->ml_count == MMIO_LOG_MAX) {
		LOG_GUEST("an instruction at %#llx makes more than %u device "
		    "accesses: the rest is dropped",
		    (unsigned long long)c->c_rip, MMIO_LOG_MAX);
		return (false);
	}
	l->ml_access[l->ml_count].gpa = gpa;
	l->ml_access[l->ml_count].size = (uint8_t)size;
	l->ml_access[l->ml_count].write = write;
	l->ml_access[l->ml_count].data = data;
	return (true);
}

static void
mmio_answered(struct mmio_log *l)
{
	l->ml_next = ++l->ml_count;
}

static _Noreturn void
mmio_leave(struct cpu *c, uint64_t gpa, unsigned size, bool write,
    uint64_t data)
{
	c->c_mmio.ml_wanted = true;
	c->c_run->er_mmio.gpa = gpa;
	c->c_run->er_mmio.data = data;
	c->c_run->er_mmio.size = (uint8_t)size;
	c->c_run->er_mmio.write = write;
	cpu_leave(c, ENGINE_EXIT_MMIO, true);
}

uint64_t
mmu_mmio_read(struct cpu *c, uint64_t gpa, unsigned size)
{
	uint64_t data = BUS_EMPTY;

	if (c->c_insn == NULL) {
		if (!c->c_host->eh_mmio_read(c->c_hostarg, gpa, size, &data))
			data = BUS_EMPTY;
		return (data & mmio_mask(size));
	}
	if (mmio_logged(c, gpa, size, false, &data))
		return (data & mmio_mask(size));
	run_alone(c);
	if (!mmio_append(c, gpa, size, false, 0))
		return (BUS_EMPTY & mmio_mask(size));
	if (!c->c_host->eh_mmio_read(c->c_hostarg, gpa, size, &data))
		mmio_leave(c, gpa, size, false, 0);
	c->c_mmio.ml_access[c->c_mmio.ml_count].data = data;
	mmio_answered(&c->c_mmio);
	return (data & mmio_mask(size));
}

void
mmu_mmio_write(struct cpu *c, uint64_t gpa, unsigned size, uint64_t value)
{
	uint64_t data;

	value &= mmio_mask(size);
	if (c->c_insn == NULL) {
		c->c_host->eh_mmio_write(c->c_hostarg, gpa, size, value);
		return;
	}
	if (mmio_logged(c, gpa, size, true, &data))
		return;
	run_alone(c);
	if (!mmio_append(c, gpa, size, true, value))
		return;
	if (!c->c_host->eh_mmio_write(c->c_hostarg, gpa, size, value))
		mmio_leave(c, gpa, size, true, value);
	mmio_answered(&c->c_mmio);
}
