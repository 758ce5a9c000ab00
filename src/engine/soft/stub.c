/*
 * Making stubs (stub.h): the emitter, and the cache of what it made.
 *
 * In a stub rdi is struct cpu and rsi the memory operand. A vector register
 * keeps its number. A general register becomes rax: no vector instruction
 * names two. MMX and x87 instructions get the whole x87 state by FXRSTOR.
 *
 * Runs on the VCPU's thread. SDM vol. 2A chapter 2.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hostfault.h"
#include "engine/soft/cpu.h"
#include "engine/soft/opcode.h"
#include "engine/soft/simd.h"
#include "engine/soft/stub.h"

#define STUB_MAX	512	/* bytes of the longest stub */
#define STUB_SLOTS	16384	/* a power of two */
#define STUB_ALIGN	16

/* All that tells one stub from another. */
struct stub_key {
	const struct opcode *k_op;
	uint16_t	k_flags;
	uint8_t		k_opcode;
	uint8_t		k_modrm;
	uint8_t		k_reg;
	uint8_t		k_rm;
	uint8_t		k_vvvv;
	uint8_t		k_imm;
	uint8_t		k_osize;
	uint8_t		k_code64;
	uint8_t		k_pad[6];	/* zero: keys are compared as bytes */
};
_Static_assert(sizeof(struct stub_key) == 24, "no holes");

struct stub_slot {
	struct stub_key	ss_key;		/* k_op NULL: free */
	uint32_t	ss_offset;
};

/* --- the cache ---------------------------------------------------------------- */

/*
 * Makes the cache of one VCPU. Returns 0 or an errno value.
 */
int
stub_cache_new(struct stub_cache **scp)
{
	struct stub_cache *sc;
	int error, fd;

	sc = calloc(1, sizeof(*sc));
	if (sc == NULL)
		return (ENOMEM);
	sc->sc_exec = sc->sc_write = MAP_FAILED;
	sc->sc_generation = 1;
	sc->sc_slots = calloc(STUB_SLOTS, sizeof(*sc->sc_slots));
	fd = memfd_create("vmm-stubs", MFD_CLOEXEC);
	if (sc->sc_slots == NULL || fd == -1 ||
	    ftruncate(fd, STUB_CODE_SIZE) == -1)
		goto fail;
	sc->sc_write = mmap(NULL, STUB_CODE_SIZE, PROT_READ | PROT_WRITE,
	    MAP_SHARED, fd, 0);
	sc->sc_exec = mmap(NULL, STUB_CODE_SIZE, PROT_READ | PROT_EXEC,
	    MAP_SHARED, fd, 0);
	if (sc->sc_write == MAP_FAILED || sc->sc_exec == MAP_FAILED)
		goto fail;
	close(fd);
	*scp = sc;
	return (0);

fail:
	error = errno;
	if (fd != -1)
		close(fd);
	stub_cache_free(sc);
	return (error);
}

void
stub_cache_free(struct stub_cache *sc)
{
	if (sc == NULL)
		return;
	if (sc->sc_write != MAP_FAILED)
		munmap(sc->sc_write, STUB_CODE_SIZE);
	if (sc->sc_exec != MAP_FAILED)
		munmap(sc->sc_exec, STUB_CODE_SIZE);
	free(sc->sc_slots);
	free(sc);
}

bool
stub_contains(const struct cpu *c, uintptr_t rip)
{
	return (rip - (uintptr_t)c->c_stubs->sc_exec < STUB_CODE_SIZE);
}

static void
stub_flush(struct stub_cache *sc)
{
	sc->sc_used = sc->sc_count = 0;
	sc->sc_generation++;
	memset(sc->sc_slots, 0, STUB_SLOTS * sizeof(*sc->sc_slots));
}

/* The key's slot, or the free one where it belongs. */
static struct stub_slot *
stub_find(struct stub_cache *sc, const struct stub_key *key)
{
	uint64_t word[3], h = 0;
	struct stub_slot *ss;
	unsigned n;

	memcpy(word, key, sizeof(word));
	for (n = 0; n < 3; n++) {
		h = (h ^ word[n]) * 0x9e3779b97f4a7c15u;
		h ^= h >> 29;
	}
	for (n = (unsigned)h;; n++) {
		ss = &sc->sc_slots[n & (STUB_SLOTS - 1)];
		if (ss->ss_key.k_op == NULL ||
		    memcmp(&ss->ss_key, key, sizeof(*key)) == 0)
			return (ss);
	}
}

/* --- the emitter -------------------------------------------------------------- */

struct emitter {
	uint8_t	*e_p;
	uint8_t	 e_start[STUB_MAX];
};

#define EMIT(e, ...)							\
	do {								\
		static const uint8_t emit_bytes[] = { __VA_ARGS__ };	\
		memcpy((e)->e_p, emit_bytes, sizeof(emit_bytes));	\
		(e)->e_p += sizeof(emit_bytes);				\
	} while (0)

static void
emit_byte(struct emitter *e, unsigned b)
{
	*e->e_p++ = (uint8_t)b;
}

static void
emit_long(struct emitter *e, uint32_t v)
{
	memcpy(e->e_p, &v, sizeof(v));
	e->e_p += sizeof(v);
}

/* The bytes end in a ModRM with [rdi + disp32]: the place in struct cpu. */
#define EMIT_CPU(e, member, ...)					\
	do {								\
		EMIT(e, __VA_ARGS__);					\
		emit_long((e), offsetof(struct cpu, member));		\
	} while (0)

/* Host registers as in ModRM.reg of EMIT_GPR. */
enum { HOST_RAX, HOST_RCX, HOST_RDX };

static void
emit_gpr(struct emitter *e, bool store, unsigned host, unsigned guest)
{
	EMIT(e, 0x48);
	emit_byte(e, store ? 0x89 : 0x8b);
	emit_byte(e, 0x87 | host << 3);
	emit_long(e, (uint32_t)(offsetof(struct cpu, c_gpr) +
	    guest * sizeof(uint64_t)));
}

/* MOVUPS xmm, or VMOVUPS ymm, between host register n and the guest's. */
static void
emit_vector(struct emitter *e, bool store, unsigned n, bool ymm)
{
	if (ymm) {
		emit_byte(e, 0xc5);
		emit_byte(e, n < 8 ? 0xfc : 0x7c);
	} else {
		if (n >= 8)
			emit_byte(e, 0x44);
		emit_byte(e, 0x0f);
	}
	emit_byte(e, store ? 0x11 : 0x10);
	emit_byte(e, 0x87 | (n & 7) << 3);
	emit_long(e, (uint32_t)(offsetof(struct cpu, c_fpu.f_ymm) + n * 32));
}

static bool
is_vector(unsigned role)
{
	return ((role & R_CLASS) >= R_XMM && (role & R_CLASS) <= R_YMM);
}

static bool
is_gpr(unsigned role)
{
	return ((role & R_CLASS) == R_GPR);
}

/* The instruction itself with its operands as said above. */
static void
emit_insn(struct emitter *e, const struct insn *i, bool code64)
{
	const struct opcode *op = i->i_op;
	bool mem = i->i_flags & INSN_MEM, w = i->i_flags & INSN_REXW;
	unsigned reg = i->i_reg, rm = mem ? RSI : i->i_rm;
	unsigned modrm = mem ? 0x00 : 0xc0, pp, imm = i->i_imm & 0xff;

	if (op->o_size == OS_Y)
		w = i->i_osize == 8;
	if (is_gpr(op->o_reg))
		reg = RAX;
	else if ((op->o_reg & R_CLASS) == R_MM)
		reg &= 7;
	if (!mem && is_gpr(op->o_rm))
		rm = RAX;
	else if (!mem && (op->o_rm & R_CLASS) == R_MM)
		rm &= 7;
	modrm |= (reg & 7) << 3 | (rm & 7);

	if (i->i_map == 0) {			/* x87 */
		if (op->o_size == OS_Z && i->i_osize == 2)
			emit_byte(e, 0x66);
		emit_byte(e, i->i_opcode);
		emit_byte(e, mem ? modrm : i->i_modrm);
		return;
	}
	if (i->i_flags & INSN_VEX) {
		pp = i->i_flags & INSN_66 ? 1 : i->i_flags & INSN_F3 ? 2 :
		    i->i_flags & INSN_F2 ? 3 : 0;
		emit_byte(e, 0xc4);
		emit_byte(e, i->i_map | (reg < 8 ? 0x80 : 0) | 0x40 |
		    (rm < 8 ? 0x20 : 0));
		emit_byte(e, (w ? 0x80 : 0) | (~i->i_vvvv & 0xf) << 3 |
		    (i->i_flags & INSN_L ? 4 : 0) | pp);
	} else {
		if (i->i_flags & INSN_66)
			emit_byte(e, 0x66);
		if (i->i_flags & INSN_F3)
			emit_byte(e, 0xf3);
		if (i->i_flags & INSN_F2)
			emit_byte(e, 0xf2);
		emit_byte(e, 0x40 | (w ? 8 : 0) | (reg & 8) >> 1 | rm >> 3);
		emit_byte(e, 0x0f);
		if (i->i_map == 2)
			emit_byte(e, 0x38);
		if (i->i_map == 3)
			emit_byte(e, 0x3a);
	}
	emit_byte(e, i->i_opcode);
	emit_byte(e, modrm);
	if (op->o_imm != IMM_NONE)
		/* Outside 64-bit code there are eight registers. */
		emit_byte(e, op->o_rules & O_IS4 && !code64 ? imm & 0x7f : imm);
}

/* Loads or stores what the instruction names of vector registers. */
static void
emit_operands(struct emitter *e, const struct insn *i, bool store, bool code64)
{
	const struct opcode *op = i->i_op;
	bool vex = i->i_flags & INSN_VEX;
	unsigned want = store ? R_WRITE : R_READ, is4;

	/* Legacy instructions leave part of what they write: load it. */
	if (!store && !vex)
		want = R_RW;
	if (is_vector(op->o_reg) && op->o_reg & want)
		emit_vector(e, store, i->i_reg, vex);
	if (vex && is_vector(op->o_vvvv) && op->o_vvvv & want)
		emit_vector(e, store, i->i_vvvv, vex);
	if (is_vector(op->o_rm) && op->o_rm & want &&
	    !(i->i_flags & INSN_MEM))
		emit_vector(e, store, i->i_rm, vex);
	if (op->o_rules & O_IS4 && !store) {
		is4 = i->i_imm >> 4 & (code64 ? 0xf : 7);
		emit_vector(e, false, is4, vex);
	}
	if (op->o_rules & O_XMM0 && !store)
		emit_vector(e, false, 0, vex);
	if (op->o_rules & O_PCMPSTR && store && !(i->i_opcode & 1))
		emit_vector(e, true, 0, vex);
}

static void
emit_gprs(struct emitter *e, const struct insn *i, bool store)
{
	const struct opcode *op = i->i_op;
	unsigned want = store ? R_WRITE : R_READ;

	if (is_gpr(op->o_reg) && op->o_reg & want)
		emit_gpr(e, store, HOST_RAX, i->i_reg);
	if (is_gpr(op->o_rm) && op->o_rm & want && !(i->i_flags & INSN_MEM))
		emit_gpr(e, store, HOST_RAX, i->i_rm);
	if (op->o_rules & O_PCMPSTR) {
		if (!store && !(i->i_opcode & 2)) {
			emit_gpr(e, false, HOST_RAX, RAX);
			emit_gpr(e, false, HOST_RDX, RDX);
		}
		if (store && i->i_opcode & 1)
			emit_gpr(e, true, HOST_RCX, RCX);
	}
}

static void
emit_stub(struct emitter *e, const struct insn *i, bool code64)
{
	const struct opcode *op = i->i_op;
	bool mxcsr = op->o_rules & O_MXCSR, x87 = op->o_rules & O_X87 ||
	    (op->o_reg & R_CLASS) == R_MM || (op->o_rm & R_CLASS) == R_MM;

	e->e_p = e->e_start;
	if (mxcsr || x87)
		EMIT_CPU(e, c_fpu.f_host_mxcsr, 0x0f, 0xae, 0x9f); /* stmxcsr */
	if (x87) {
		EMIT_CPU(e, c_fpu.f_host_fcw, 0xd9, 0xbf);	/* fnstcw */
		EMIT_CPU(e, c_fpu.f_fx, 0x48, 0x0f, 0xae, 0x8f); /* fxrstor64 */
	}
	if (mxcsr)
		EMIT_CPU(e, c_fpu.f_mxcsr, 0x0f, 0xae, 0x97);	/* ldmxcsr */
	emit_operands(e, i, false, code64);
	if (op->o_in != 0) {
		EMIT_CPU(e, c_rflags, 0x8b, 0x87);	/* mov rflags, eax */
		EMIT(e, 0x25);				/* and imm, eax */
		emit_long(e, FL_ARITH);
		EMIT(e, 0x50, 0x9d);			/* push rax; popfq */
	}
	emit_gprs(e, i, false);

	emit_insn(e, i, code64);

	emit_gprs(e, i, true);
	if (op->o_out != 0) {
		EMIT(e, 0x9c, 0x58, 0x25);		/* pushfq; pop rax; and */
		emit_long(e, FL_ARITH);
		EMIT_CPU(e, c_rflags, 0x81, 0xa7);	/* and imm, rflags */
		emit_long(e, ~FL_ARITH);
		EMIT_CPU(e, c_rflags, 0x09, 0x87);	/* or eax, rflags */
	}
	emit_operands(e, i, true, code64);
	if (mxcsr)
		EMIT_CPU(e, c_fpu.f_mxcsr, 0x0f, 0xae, 0x9f);
	if (mxcsr || x87)
		EMIT_CPU(e, c_fpu.f_host_mxcsr, 0x0f, 0xae, 0x97);
	if (x87) {
		EMIT_CPU(e, c_fpu.f_fx, 0x48, 0x0f, 0xae, 0x87); /* fxsave64 */
		EMIT(e, 0xdb, 0xe3);				/* fninit */
		EMIT_CPU(e, c_fpu.f_host_fcw, 0xd9, 0xaf);	/* fldcw */
	}
	if (i->i_flags & INSN_VEX)
		EMIT(e, 0xc5, 0xf8, 0x77);		/* vzeroupper */
	EMIT(e, 0xc3);
	assert((size_t)(e->e_p - e->e_start) <= sizeof(e->e_start));
}

/*
 * Finds or makes the stub of i and notes it in i_stub.
 */
stub_fn *
stub_make(struct cpu *c, const struct insn *i)
{
	struct stub_cache *sc = c->c_stubs;
	struct stub_key key;
	struct stub_slot *ss;
	struct emitter e;
	uint32_t len;

	memset(&key, 0, sizeof(key));
	key.k_op = i->i_op;
	key.k_flags = i->i_flags & (INSN_MEM | INSN_REXW | INSN_VEX | INSN_L |
	    INSN_66 | INSN_F3 | INSN_F2);
	key.k_opcode = i->i_opcode;
	key.k_modrm = i->i_flags & INSN_MEM ? i->i_modrm & 0x38 : i->i_modrm;
	key.k_reg = i->i_reg;
	key.k_rm = i->i_flags & INSN_MEM ? 0 : i->i_rm;
	key.k_vvvv = i->i_vvvv;
	key.k_imm = i->i_op->o_imm != IMM_NONE ? (uint8_t)i->i_imm : 0;
	key.k_osize = i->i_osize;
	key.k_code64 = c->c_code64;

	ss = stub_find(sc, &key);
	if (ss->ss_key.k_op == NULL) {
		emit_stub(&e, i, c->c_code64);
		len = (uint32_t)(e.e_p - e.e_start);
		len = (len + STUB_ALIGN - 1) & ~(STUB_ALIGN - 1u);
		if (sc->sc_used + len > STUB_CODE_SIZE ||
		    sc->sc_count >= STUB_SLOTS / 4 * 3) {
			stub_flush(sc);
			ss = stub_find(sc, &key);
		}
		memcpy(sc->sc_write + sc->sc_used, e.e_start,
		    (size_t)(e.e_p - e.e_start));
		ss->ss_key = key;
		ss->ss_offset = sc->sc_used;
		sc->sc_used += len;
		sc->sc_count++;
	}
	/* A block's instructions are const to handlers but for this cache. */
	((struct insn *)(uintptr_t)i)->i_stub = (void *)(uintptr_t)
	    (sc->sc_generation << STUB_CODE_SHIFT | ss->ss_offset);
	return ((stub_fn *)(uintptr_t)(sc->sc_exec + ss->ss_offset));
}

/* --- running with exceptions unmasked ------------------------------------------ */

void
stub_restore_host(struct cpu *c)
{
	__asm__ volatile("fninit; fldcw %0; ldmxcsr %1"
	    : : "m"(c->c_fpu.f_host_fcw), "m"(c->c_fpu.f_host_mxcsr));
}

static bool
stub_claims(struct hostfault *hf)
{
	const struct cpu *c = hf->hf_arg;

	return (hf->hf_trapno == VMM_EX_XM && stub_contains(c, hf->hf_rip));
}

/* Has i an operand in an MMX register? */
static bool
names_mmx(const struct insn *i)
{
	return ((i->i_op->o_reg & R_CLASS) == R_MM ||
	    ((i->i_op->o_rm & R_CLASS) == R_MM && !(i->i_flags & INSN_MEM)));
}

void
stub_run_guarded(struct cpu *c, stub_fn *fn, void *mem)
{
	sigjmp_buf env;
	struct hostfault hf = {
		.hf_env = &env, .hf_filter = stub_claims, .hf_arg = c
	};

	/* Not every stub saves it. */
	__asm__("fnstcw %0" : "=m"(c->c_fpu.f_host_fcw));
	if (sigsetjmp(env, 0) != 0) {
		hostfault_pop(&hf);
		stub_restore_host(c);
		c->c_fpu.f_mxcsr = hf.hf_mxcsr & MXCSR_VALID;
		if (names_mmx(c->c_insn))
			mmx_enter(c);
		if (c->c_cr4 & CR4_OSXMMEXCPT)
			cpu_fault(c, VMM_EX_XM, 0);
		cpu_ud(c);
	}
	hostfault_push(&hf);
	fn(c, mem);
	hostfault_pop(&hf);
}
