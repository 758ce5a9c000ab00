/*
 * What the emitter writes, read back by Zydis: plain instructions in all forms
 * of operands, and the guest's instructions with other registers, for every
 * row that is copied.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <Zydis/Zydis.h>

#include "../insn/gen.h"
#include "engine/soft/jit/emit.h"

#define ROUNDS		20000
#define EACH_SHAPE	4

static struct rng rng;
static struct tr x;
static uint8_t code[64];

static struct zydis {
	ZydisDecodedInstruction z_insn;
	ZydisDecodedOperand z_op[ZYDIS_MAX_OPERAND_COUNT];
} emitted, guest;

static bool
decode(struct zydis *z, const uint8_t *bytes, size_t len, bool compat)
{
	ZydisDecoder dec;

	ZydisDecoderInit(&dec, compat ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 :
	    ZYDIS_MACHINE_MODE_LONG_64, compat ? ZYDIS_STACK_WIDTH_32 :
	    ZYDIS_STACK_WIDTH_64);
	/* PREFETCHW and its like are none of ours */
	return (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&dec, bytes, len,
	    &z->z_insn, z->z_op)) && z->z_insn.length == len);
}

static void
begin(void)
{
	memset(code, 0xcc, sizeof(code));
	x.x_p = x.x_start = code;
}

/* What has been emitted is one instruction, of this name. */
static void
expect(ZydisMnemonic mnemonic)
{
	assert_true(decode(&emitted, code, (size_t)(x.x_p - code), false));
	assert_int_equal(emitted.z_insn.mnemonic, mnemonic);
}

static unsigned
number(ZydisRegister reg)
{
	return ((unsigned)ZydisRegisterGetId(ZydisRegisterGetLargestEnclosing(
	    ZYDIS_MACHINE_MODE_LONG_64, reg)));
}

static void
expect_reg(unsigned op, unsigned reg, unsigned size)
{
	const ZydisDecodedOperand *o = &emitted.z_op[op];

	assert_int_equal(o->type, ZYDIS_OPERAND_TYPE_REGISTER);
	assert_int_equal(number(o->reg.value), reg);
	assert_int_equal(o->size, size * 8);
}

static void
expect_mem(unsigned op, unsigned base, unsigned index, unsigned scale,
    int64_t disp, bool gs)
{
	const ZydisDecodedOperandMem *m = &emitted.z_op[op].mem;

	assert_int_equal(emitted.z_op[op].type, ZYDIS_OPERAND_TYPE_MEMORY);
	if (base == REG_NONE)
		assert_int_equal(m->base, ZYDIS_REGISTER_NONE);
	else
		assert_int_equal(number(m->base), base);
	if (index == REG_NONE)
		assert_int_equal(m->index, ZYDIS_REGISTER_NONE);
	else {
		assert_int_equal(number(m->index), index);
		assert_int_equal(m->scale, 1 << scale);
	}
	assert_int_equal(m->disp.has_displacement ? m->disp.value : 0, disp);
	assert_int_equal(m->segment == ZYDIS_REGISTER_GS, gs);
}

static unsigned
any_size(void)
{
	return (1u << rng_below(&rng, 4));
}

static int32_t
any_disp(void)
{
	static const int32_t odd[] = {
		0, 1, -1, 127, 128, -128, -129, INT32_MAX, INT32_MIN
	};

	return (rng_below(&rng, 2) ? odd[rng_below(&rng,
	    sizeof(odd) / sizeof(odd[0]))] : (int32_t)rng_next(&rng));
}

/* --- plain instructions ------------------------------------------------------------ */

static void
test_plain(void **state)
{
	unsigned n, size, reg, rm, base, index, scale;
	int32_t disp;
	uint64_t imm;

	(void)state;
	for (n = 0; n < ROUNDS; n++) {
		size = any_size();
		reg = rng_below(&rng, 16);
		rm = rng_below(&rng, 16);
		begin();
		e_rr(&x, size == 1 ? 0x88 : 0x89, size, reg, rm);
		expect(ZYDIS_MNEMONIC_MOV);
		expect_reg(0, rm, size);
		expect_reg(1, reg, size);

		begin();
		e_rr(&x, 0x0fb6, size == 1 ? 4 : size, reg, rm);
		expect(ZYDIS_MNEMONIC_MOVZX);
		expect_reg(0, reg, size == 1 ? 4 : size);
		expect_reg(1, rm, 1);

		base = rng_below(&rng, 17);
		do
			index = rng_below(&rng, 17);
		while (index == H_RSP);
		scale = index == REG_NONE ? 0 : rng_below(&rng, 4);
		disp = any_disp();
		begin();
		e_rm(&x, size == 1 ? 0x8a : 0x8b, size, reg, base, index, scale,
		    disp);
		expect(ZYDIS_MNEMONIC_MOV);
		expect_reg(0, reg, size);
		expect_mem(1, base, index, scale, disp, false);

		begin();
		e_gs(&x, size == 1 ? 0x88 : 0x89, size, reg, C_TMP);
		expect(ZYDIS_MNEMONIC_MOV);
		expect_mem(0, REG_NONE, REG_NONE, 0, C_TMP, true);
		expect_reg(1, reg, size);

		begin();
		e_gs_index(&x, 0x03, 8, reg, H_T0, JT_NEGW(1));
		expect(ZYDIS_MNEMONIC_ADD);
		expect_reg(0, reg, 8);
		expect_mem(1, REG_NONE, H_T0, 3, JT_NEGW(1), true);

		imm = rng_next(&rng) >> rng_below(&rng, 64);
		if (rng_below(&rng, 2))
			imm = -imm;
		begin();
		e_mov_imm(&x, reg, imm);
		expect(ZYDIS_MNEMONIC_MOV);
		assert_int_equal(number(emitted.z_op[0].reg.value), reg);
		if (emitted.z_op[0].size == 32)
			assert_int_equal(imm, imm & UINT32_MAX);
		assert_int_equal(emitted.z_op[0].size == 32 ?
		    emitted.z_op[1].imm.value.u & UINT32_MAX :
		    emitted.z_op[1].imm.value.u, imm);
	}
}

static void
test_jumps(void **state)
{
	uint8_t *rel;
	unsigned cc;

	(void)state;
	for (cc = 0; cc <= E_CALL; cc++) {
		begin();
		rel = e_jump(&x, cc);
		e_patch(&x, rel, code + 40);
		assert_true(decode(&emitted, code, (size_t)(x.x_p - code),
		    false));
		assert_int_equal(emitted.z_insn.length +
		    emitted.z_op[0].imm.value.s, 40);
	}
	for (cc = 0; cc <= E_JMP8; cc++) {
		if (cc == E_JMP || cc == E_CALL)
			continue;
		begin();
		rel = e_jump8(&x, cc);
		x.x_p += 20;
		e_patch8(&x, rel);
		assert_true(decode(&emitted, code, 2, false));
		assert_int_equal(emitted.z_op[0].imm.value.s, 20);
		if (cc == E_JRCXZ)
			assert_int_equal(emitted.z_insn.mnemonic,
			    ZYDIS_MNEMONIC_JRCXZ);
	}
}

/* --- the guest's instructions -------------------------------------------------------- */

static bool
is_gpr(unsigned role)
{
	return ((role & R_CLASS) == R_GPR || (role & R_CLASS) == R_BYTE);
}

/* The host register for an operand; false: AH..BH, which is another matter. */
static bool
host_of(const struct insn *i, unsigned role, unsigned n, unsigned *host)
{
	*host = n;
	if (!is_gpr(role))
		return (true);
	if ((role & R_CLASS) == R_BYTE && n >= 4 && !(i->i_flags & INSN_REX))
		return (false);
	*host = tr_host[n] == H_SLOT ? H_T0 : tr_host[n];
	return (true);
}

static void
same_register(const ZydisDecodedOperand *g, const ZydisDecodedOperand *e,
    bool mapped)
{
	ZydisRegisterClass class = ZydisRegisterGetClass(g->reg.value);
	unsigned n;

	assert_int_equal(ZydisRegisterGetClass(e->reg.value), class);
	if (class < ZYDIS_REGCLASS_GPR8 || class > ZYDIS_REGCLASS_GPR64 ||
	    !mapped) {
		assert_int_equal(e->reg.value, g->reg.value);
		return;
	}
	n = number(g->reg.value);
	assert_int_equal(number(e->reg.value),
	    tr_host[n] == H_SLOT ? H_T0 : tr_host[n]);
}

static void
same(const struct insn *i)
{
	const ZydisDecodedOperand *g, *e;
	unsigned n;

	assert_int_equal(emitted.z_insn.mnemonic, guest.z_insn.mnemonic);
	assert_int_equal(emitted.z_insn.operand_count_visible,
	    guest.z_insn.operand_count_visible);
	assert_int_equal(
	    (emitted.z_insn.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0,
	    (guest.z_insn.attributes & ZYDIS_ATTRIB_HAS_LOCK) != 0);
	for (n = 0; n < guest.z_insn.operand_count_visible; n++) {
		g = &guest.z_op[n];
		e = &emitted.z_op[n];
		assert_int_equal(e->type, g->type);
		assert_int_equal(e->size, g->size);
		switch (g->type) {
		case ZYDIS_OPERAND_TYPE_REGISTER:
			/* a fixed one (CL, EAX) is the same on the host */
			same_register(g, e,
			    g->encoding != ZYDIS_OPERAND_ENCODING_NONE);
			break;
		case ZYDIS_OPERAND_TYPE_MEMORY:
			expect_mem(n, H_T0, H_T1, 0, 0, false);
			break;
		case ZYDIS_OPERAND_TYPE_IMMEDIATE:
			/* bit 7 of a register in an immediate says nothing
			 * outside 64-bit code */
			if (!(i->i_op->o_rules & O_IS4))
				assert_int_equal(e->imm.value.u,
				    g->imm.value.u);
			break;
		default:
			break;
		}
	}
}

static void
test_guest(void **state)
{
	unsigned count, n, k, reg, vvvv, rm, done = 0;
	struct oracle_insn oi;
	struct shape *shapes;
	struct insn i;

	(void)state;
	shapes = gen_shapes(&count);
	for (n = 0; n < count * EACH_SHAPE; n++) {
		k = n / EACH_SHAPE;
		if ((shapes[k].sh_op->o_rule != tr_copy &&
		    shapes[k].sh_op->o_rule != tr_vector) ||
		    shapes[k].sh_op->o_rules & O_VSIB ||
		    !gen_insn(&rng, &shapes[k], &oi, &i) ||
		    !decode(&guest, oi.oi_bytes, oi.oi_len, oi.oi_compat))
			continue;
		if (!host_of(&i, i.i_op->o_reg, i.i_reg, &reg) ||
		    !host_of(&i, i.i_op->o_vvvv, i.i_vvvv, &vvvv))
			continue;
		rm = E_MEM;
		if (!(i.i_flags & INSN_MEM) &&
		    !host_of(&i, i.i_op->o_rm, i.i_rm, &rm))
			continue;
		begin();
		x.x_64 = !oi.oi_compat;
		e_insn(&x, &i, reg, vvvv, rm);
		if (!decode(&emitted, code, (size_t)(x.x_p - code), false))
			fail_msg("%s is not one instruction", i.i_op->o_name);
		same(&i);
		done++;
	}
	free(shapes);
	assert_true(done > 1000);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_jumps),
		cmocka_unit_test(test_guest),
	};

	rng.r_state = (uint64_t)time(NULL) * 1000003u | 1;
	printf("# seed %llu\n", (unsigned long long)rng.r_state);
	return (cmocka_run_group_tests(tests, NULL, NULL));
}
