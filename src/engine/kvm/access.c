/*
 * Accesses to ports and to device memory: KVM's exits in pieces as the
 * contract wants them (engine.h).
 *
 * KVM hands INS over in batches of elements, all to be answered before any is
 * stored, and device memory in parts of 1 to 8 bytes of any length. Each piece
 * is first offered to the monitor (device memory) and else leaves run(). While
 * a batch of INS is worked off, KVM still has the registers from before it;
 * kvm_access_regs() makes what the guest's CPU has.
 *
 * On the VCPU's thread.
 */
#include <sys/mman.h>

#include <string.h>

#include "engine/kvm/kvm.h"
#include "engine/kvm/sys.h"

static uint64_t
register_mask(unsigned size)
{
	return (size == 8 ? UINT64_MAX : (1ul << size * 8) - 1);
}

/*
 * KVM finds that REP OUTS has come to its end when it executes it once more;
 * the guest's CPU is past it after the last element.
 */
static void
access_outs_end(struct engine_vcpu *v)
{
	const struct io_insn *ii = &v->v_access.a_insn;
	struct kvm_regs *regs = vcpu_regs(v);

	if (v->v_access.a_kind != ACCESS_OUT || !ii->ii_rep || !ii->ii_here ||
	    (regs->rcx & register_mask(ii->ii_asize)) != 0)
		return;
	regs->rip += ii->ii_len;
	if (kvm_sys.ks_ioctl(v->v_fd, KVM_SET_REGS, regs) == -1)
		regs->rip -= ii->ii_len;	/* it will find out itself */
}

void
kvm_access_begin(struct engine_vcpu *v)
{
	struct kvm_run *run = v->v_run;
	struct access *a = &v->v_access;

	v->v_pending = true;
	v->v_plain = false;
	memset(a, 0, sizeof(*a));
	if (run->exit_reason == KVM_EXIT_MMIO) {
		v->v_count[COUNT_MMIO]++;
		a->a_kind = run->mmio.is_write ? ACCESS_WRITE : ACCESS_READ;
		a->a_gpa = run->mmio.phys_addr;
		a->a_count = run->mmio.len;
		a->a_data = run->mmio.data;
		return;
	}
	v->v_count[COUNT_IO]++;
	a->a_kind = run->io.direction == KVM_EXIT_IO_IN ? ACCESS_IN :
	    ACCESS_OUT;
	a->a_size = run->io.size;
	a->a_port = run->io.port;
	a->a_count = run->io.count;
	a->a_data = (uint8_t *)run + run->io.data_offset;
	kvm_insn_find(v, &a->a_insn);
	a->a_string = a->a_insn.ii_string;
	v->v_plain = !a->a_string;
	access_outs_end(v);
}

void
kvm_access_answer(struct engine_vcpu *v, const uint64_t *data)
{
	static const uint64_t ones = UINT64_MAX;
	struct access *a = &v->v_access;
	const void *from = data != NULL ? data : &ones;

	if (!a->a_wanted)
		return;
	a->a_wanted = false;
	switch (a->a_kind) {
	case ACCESS_IN:
		/* without an answer RAX stays what it is */
		if (data == NULL && !a->a_string)
			from = &vcpu_regs(v)->rax;
		memcpy(a->a_data + a->a_at * a->a_size, from, a->a_size);
		/* FALLTHROUGH */
	case ACCESS_OUT:
		a->a_at++;
		break;
	case ACCESS_READ:
		memcpy(a->a_data + a->a_at, from, a->a_size);
		/* FALLTHROUGH */
	case ACCESS_WRITE:
		a->a_at += a->a_size;
		break;
	case ACCESS_NONE:
		break;
	}
}

/* --- ports ----------------------------------------------------------------- */

static bool
access_port(struct engine_vcpu *v, struct engine_run *er)
{
	struct access *a = &v->v_access;
	struct vm_exit_inout *io = &er->er_io;

	if (a->a_at == a->a_count)
		return (false);
	memset(io, 0, sizeof(*io));
	io->vei_size = a->a_size;
	io->vei_dir = a->a_kind == ACCESS_IN ? VEI_DIR_IN : VEI_DIR_OUT;
	io->vei_rep = a->a_insn.ii_rep;
	io->vei_string = a->a_insn.ii_string;
	io->vei_encoding = a->a_insn.ii_imm;
	io->vei_port = a->a_port;
	if (a->a_kind == ACCESS_OUT)
		memcpy(&io->vei_data, a->a_data + a->a_at * a->a_size,
		    a->a_size);
	er->er_exit = ENGINE_EXIT_IO;
	a->a_wanted = true;
	return (true);
}

/* Adds to the part of a register that an instruction of that address size
 * changes; 32-bit results are zero-extended. */
static void
register_add(__u64 *reg, unsigned size, uint64_t n)
{
	uint64_t mask = register_mask(size);
	uint64_t sum = (*reg + n) & mask;

	*reg = size == 2 ? (*reg & ~mask) | sum : sum;
}

void
kvm_access_regs(struct engine_vcpu *v, struct kvm_regs *regs)
{
	const struct access *a = &v->v_access;
	const struct io_insn *ii = &a->a_insn;
	uint64_t done = a->a_at + (a->a_wanted ? 1 : 0);
	uint64_t step = done * a->a_size;

	if (a->a_kind != ACCESS_IN || !a->a_string || done == 0)
		return;
	register_add(&regs->rdi, ii->ii_asize,
	    (regs->rflags & FL_DF) != 0 ? -step : step);
	if (ii->ii_rep)
		register_add(&regs->rcx, ii->ii_asize, -done);
	if (!ii->ii_rep || (regs->rcx & register_mask(ii->ii_asize)) == 0)
		regs->rip += ii->ii_len;
}

/* --- memory ----------------------------------------------------------------- */

/*
 * KVM's own emulator comes here too with memory that it could not reach: what
 * lacks a right, or what the client has protected. True: leaves run().
 */
static bool
access_protected(struct engine_vcpu *v, const struct slot *s,
    struct engine_run *er)
{
	struct access *a = &v->v_access;
	uint64_t gpa = a->a_gpa + a->a_at;
	bool write = a->a_kind == ACCESS_WRITE;
	uint8_t *data = a->a_data + a->a_at;
	size_t len = a->a_count - a->a_at;
	int need = write ? PROT_WRITE : PROT_READ;
	bool done;

	done = (s->s_prot & need) != 0 &&
	    (write ? kvm_mem_write(v->v_vm, gpa, data, len) :
	    kvm_mem_read(v->v_vm, gpa, data, len));
	a->a_at = a->a_count;
	if (done)
		return (false);
	if (!write)
		memset(data, 0xff, len);
	er->er_exit = ENGINE_EXIT_PROTECT;
	er->er_protect.gpa = gpa;
	er->er_protect.access = write ? ENGINE_WRITE : ENGINE_READ;
	return (true);
}

static bool
access_memory(struct engine_vcpu *v, struct engine_run *er)
{
	struct access *a = &v->v_access;
	bool write = a->a_kind == ACCESS_WRITE;
	const struct slot *s;
	uint64_t gpa, data;
	unsigned left;

	while (a->a_at < a->a_count) {
		gpa = a->a_gpa + a->a_at;
		left = a->a_count - a->a_at;
		if ((s = kvm_slot_find(v->v_vm, gpa)) != NULL)
			return (access_protected(v, s, er));
		a->a_size = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
		data = 0;
		if (write)
			memcpy(&data, a->a_data + a->a_at, a->a_size);
		a->a_wanted = true;
		if (write ? !v->v_host->eh_mmio_write(v->v_arg, gpa, a->a_size,
		    data) :
		    !v->v_host->eh_mmio_read(v->v_arg, gpa, a->a_size, &data)) {
			er->er_exit = ENGINE_EXIT_MMIO;
			er->er_mmio.gpa = gpa;
			er->er_mmio.data = data;
			er->er_mmio.size = a->a_size;
			er->er_mmio.write = write;
			return (true);
		}
		kvm_access_answer(v, &data);
	}
	return (false);
}

bool
kvm_access_next(struct engine_vcpu *v, struct engine_run *er)
{
	struct access *a = &v->v_access;
	bool leaves = false;

	if (a->a_kind == ACCESS_IN || a->a_kind == ACCESS_OUT)
		leaves = access_port(v, er);
	else if (a->a_kind != ACCESS_NONE)
		leaves = access_memory(v, er);
	if (!leaves)
		a->a_kind = ACCESS_NONE;
	return (leaves);
}

void
kvm_access_drop(struct engine_vcpu *v)
{
	struct access *a = &v->v_access;

	if (a->a_kind == ACCESS_IN && !a->a_string && a->a_wanted)
		v->v_in_size = a->a_size;
	while (a->a_kind != ACCESS_NONE && a->a_at < a->a_count) {
		if (a->a_kind == ACCESS_READ || a->a_kind == ACCESS_WRITE)
			a->a_size = 1;
		a->a_wanted = true;
		kvm_access_answer(v, NULL);
	}
	a->a_kind = ACCESS_NONE;
	a->a_wanted = false;
}
