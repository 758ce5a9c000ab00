/*
 * Port instructions: what vmm(4) says of an exit and KVM does not - string,
 * REP, immediate port - is in the instruction's bytes (SDM vol. 2).
 *
 * At an exit for IN and INS, RIP is on the instruction. At one for OUT it is
 * on it as well, as KVM moves RIP when it finishes the instruction; at one for
 * OUTS the element is done: RIP is on the instruction while REP has more of
 * them, and past it after the last.
 *
 * Looking an instruction up takes two system calls, so those found are kept by
 * RIP, and believed as long as the bytes are still there.
 */
#include <string.h>

#include "base/hostfault.h"
#include "engine/kvm/kvm.h"
#include "engine/kvm/sys.h"

#define INSN_MAX	15

bool
kvm_insn_decode(const uint8_t *bytes, size_t len, unsigned bits,
    struct io_insn *ii)
{
	bool osize = false, asize = false;
	uint8_t op;
	size_t n;

	memset(ii, 0, sizeof(*ii));
	for (n = 0; n < len; n++) {
		switch (bytes[n]) {
		case 0x66:
			osize = true;
			continue;
		case 0x67:
			asize = true;
			continue;
		case 0xf2: case 0xf3:
			ii->ii_rep = true;
			continue;
		case 0x26: case 0x2e: case 0x36: case 0x3e: case 0x64:
		case 0x65: case 0xf0:
			continue;
		default:
			if (bits == 64 && (bytes[n] & 0xf0) == 0x40)
				continue;	/* REX */
			break;
		}
		break;
	}
	if (n == len)
		return (false);
	op = bytes[n++];
	if ((op & 0xfc) == 0x6c)	/* INS, OUTS: 6C to 6F */
		ii->ii_string = true;
	else if ((op & 0xfc) == 0xe4)	/* IN, OUT, imm8: E4 to E7 */
		ii->ii_imm = true;
	else if ((op & 0xfc) != 0xec)	/* the same with DX */
		return (false);
	if (ii->ii_imm) {
		if (n == len)
			return (false);
		ii->ii_port = bytes[n++];
	}
	ii->ii_in = (op & 2) == 0;
	ii->ii_rep &= ii->ii_string;
	ii->ii_size = (op & 1) == 0 ? 1 : (bits == 16) != osize ? 2 : 4;
	ii->ii_asize = bits == 64 ? (asize ? 4 : 8) :
	    (bits == 16) != asize ? 2 : 4;
	ii->ii_len = (uint8_t)n;
	return (true);
}

/* Does the exit fit the instruction? */
static bool
insn_fits(const struct kvm_run *run, const struct kvm_regs *regs,
    const struct io_insn *ii)
{
	return (ii->ii_in == (run->io.direction == KVM_EXIT_IO_IN) &&
	    ii->ii_size == run->io.size && run->io.port ==
	    (ii->ii_imm ? ii->ii_port : (uint16_t)regs->rdx));
}

static bool
insn_seen(struct engine_vcpu *v, struct io_insn *ii)
{
	const struct kvm_regs *regs = vcpu_regs(v);
	const struct io_seen *is = &v->v_seen[regs->rip % IO_SEEN];
	uint8_t bytes[INSN_MAX];

	if (is->is_insn.ii_len == 0 || is->is_rip != regs->rip ||
	    !insn_fits(v->v_run, regs, &is->is_insn) ||
	    !hostfault_copy(bytes, is->is_host, is->is_insn.ii_len) ||
	    memcmp(bytes, is->is_bytes, is->is_insn.ii_len) != 0)
		return (false);
	*ii = is->is_insn;
	return (true);
}

static void
insn_keep(struct engine_vcpu *v, const struct io_insn *ii, uint64_t gpa,
    const uint8_t *bytes)
{
	const struct slot *s = kvm_slot_find(v->v_vm, gpa);
	struct io_seen *is = &v->v_seen[vcpu_regs(v)->rip % IO_SEEN];

	if (s == NULL || ii->ii_len > s->s_size - (gpa - s->s_gpa))
		return;
	is->is_rip = vcpu_regs(v)->rip;
	is->is_host = s->s_host + (gpa - s->s_gpa);
	is->is_insn = *ii;
	memcpy(is->is_bytes, bytes, ii->ii_len);
}

/* Up to INSN_MAX bytes at a linear address; how many there are. */
static size_t
insn_fetch(struct engine_vcpu *v, uint64_t linear, uint8_t *bytes,
    uint64_t *gpa)
{
	size_t len, room = KVM_PAGE - linear % KVM_PAGE;
	uint64_t next;

	if (!kvm_translate(v, linear, gpa))
		return (0);
	len = room < INSN_MAX ? room : INSN_MAX;
	if (!kvm_mem_read(v->v_vm, *gpa, bytes, len))
		return (0);
	if (len < INSN_MAX && kvm_translate(v, linear + len, &next) &&
	    kvm_mem_read(v->v_vm, next, bytes + len, INSN_MAX - len))
		len = INSN_MAX;
	return (len);
}

static unsigned
insn_bits(struct engine_vcpu *v)
{
	struct kvm_sregs2 s;

	if (kvm_sys.ks_ioctl(v->v_fd, KVM_GET_SREGS2, &s) == -1)
		return (32);
	return ((s.efer & 0x400) != 0 && s.cs.l ? 64 : s.cs.db ? 32 : 16);
}

/* OUTS that is past its last element: prefixes and opcode end at RIP. */
static bool
insn_before(struct engine_vcpu *v, uint64_t linear, unsigned bits,
    struct io_insn *ii)
{
	uint8_t bytes[INSN_MAX];
	struct io_insn longer;
	uint64_t gpa;
	size_t n;
	bool found = false;

	/* as many prefixes as there may be */
	for (n = 1; n <= 4; n++)
		if (kvm_translate(v, linear - n, &gpa) &&
		    kvm_mem_read(v->v_vm, gpa, &bytes[4 - n], 1) &&
		    kvm_insn_decode(&bytes[4 - n], n, bits, &longer) &&
		    longer.ii_len == n && longer.ii_string &&
		    insn_fits(v->v_run, vcpu_regs(v), &longer)) {
			*ii = longer;
			found = true;
		}
	return (found);
}

void
kvm_insn_find(struct engine_vcpu *v, struct io_insn *ii)
{
	const struct kvm_run *run = v->v_run;
	const struct access a = v->v_access;
	struct io_insn past;
	uint8_t bytes[INSN_MAX];
	uint64_t linear, gpa = 0;
	unsigned bits;
	size_t len;

	if (insn_seen(v, ii))
		return;
	bits = insn_bits(v);
	if (kvm_linear_rip(v, &linear)) {
		len = insn_fetch(v, linear, bytes, &gpa);
		if (kvm_insn_decode(bytes, len, bits, ii) &&
		    insn_fits(run, vcpu_regs(v), ii)) {
			ii->ii_here = true;
			/* an OUT after an OUTS: which of them? */
			if (!ii->ii_in && !ii->ii_string &&
			    insn_before(v, linear, bits, &past)) {
				gpa = vcpu_regs(v)->rip;
				if (kvm_settle(v) == 0 &&
				    vcpu_regs(v)->rip == gpa)
					*ii = past;
				v->v_access = a;
			} else if (!ii->ii_string)
				insn_keep(v, ii, gpa, bytes);
			return;
		}
		if (run->io.direction == KVM_EXIT_IO_OUT &&
		    insn_before(v, linear, bits, ii))
			return;
	}
	/* The code was changed meanwhile: what the exit itself says. */
	memset(ii, 0, sizeof(*ii));
	ii->ii_size = run->io.size;
	ii->ii_in = run->io.direction == KVM_EXIT_IO_IN;
	ii->ii_string = ii->ii_rep = run->io.count > 1;
	ii->ii_asize = 8;
}
