/*
 * Random instructions with addresses that lead somewhere (items.h).
 */
#include "items.h"

#include <stdlib.h>
#include <string.h>

#include "../lib/emulated.h"
#include "engine/soft/cpu.h"
#include "engine/soft/decode.h"
#include "engine/soft/opcode.h"
#include "side.h"

static struct shape *shapes, *plain;
static unsigned nshapes, nplain;
static bool devices;		/* are accessed, too */

static uint64_t
address(struct rng *r, unsigned size)
{
	unsigned near = rng_below(r, size + 2), kind = rng_below(r, 24);

	switch (kind == 3 || kind == 4 ? (devices ? kind : 24) : kind) {
	case 0:
		return (READONLY + 0x1000 - near);
	case 1:
		return (WINDOW + WINDOW_SIZE - near);
	case 2:
		return (SUPER - near);
	case 3:
		return (MMIO - near);
	case 4:
		return (MMIO + rng_below(r, 0x1000 - 64));
	case 5:
		return (SUPER + rng_below(r, 0x1000));
	case 6:
		return (ALIAS + CODE_PAGES * 0x1000 - rng_below(r, 64) - size);
	case 7:
		return (rng_next(r) >> rng_below(r, 40));
	case 8:
	case 9:
	case 10:
		return (WINDOW + 0x1000 - near);
	case 11:
		return (BEFORE_MMIO + 0x100 + rng_below(r, 0x800));
	default:
		return (WINDOW + rng_below(r, 0x1f00));
	}
}

static void
set(struct item *it, bool compat, unsigned reg, uint64_t value)
{
	uint8_t *p = it->it_setup + it->it_setup_len;

	if (compat) {
		p[0] = (uint8_t)(0xb8 | reg);
		memcpy(p + 1, &value, 4);
		it->it_setup_len += 5;
		return;
	}
	p[0] = (uint8_t)(0x48 | reg >> 3);
	p[1] = (uint8_t)(0xb8 | (reg & 7));
	memcpy(p + 2, &value, 8);
	it->it_setup_len += 10;
}

static unsigned
imm_size(const struct insn *i)
{
	switch (i->i_op->o_imm) {
	case IMM_B: case IMM_BS:
		return (1);
	case IMM_W:
		return (2);
	case IMM_Z:
		return (i->i_osize == 2 ? 2 : 4);
	default:
		return (0);
	}
}

static bool
is_stack(const struct insn *i)
{
	static const char *const name[] = { "push", "pop", "call", "ret",
	    "leave", "enter", "pushf", "popf", "pusha", "popa" };
	unsigned n;

	for (n = 0; n < sizeof(name) / sizeof(name[0]); n++)
		if (strcmp(i->i_op->o_name, name[n]) == 0)
			return (true);
	return (false);
}

/* Ends a sequence early, mostly: seldom is enough. */
static bool
is_rare(const struct insn *i)
{
	static const char *const name[] = { "hlt", "syscall", "sysenter",
	    "sysret", "sysexit", "int", "int1", "int3", "into", "iret", "retf",
	    "call far", "jmp far", "cli", "sti", "invlpg", "invpcid", "clts",
	    "lgdt", "lidt", "lldt", "ltr", "lmsw", "invd", "wbinvd", "rdmsr",
	    "wrmsr", "swapgs", "xsetbv", "rdpmc", "mov cr", "ud0", "ud1", "ud2",
	    "les", "lds", "lss", "lfs", "lgs", "xrstor", "fxrstor", "clac",
	    "stac", "popf", "mov sreg" };
	unsigned n;

	for (n = 0; n < sizeof(name) / sizeof(name[0]); n++)
		if (strcmp(i->i_op->o_name, name[n]) == 0)
			return (true);
	return (i->i_map == 0 && (i->i_opcode == 0x8e));
}

/*
 * Is it one of the integer instructions that an emulated CPU gets wrong, with
 * KVM and without? insn_test, which has the host's word for it, has found them.
 */
static bool
misemulated(const struct insn *i, const struct oracle_insn *oi)
{
	static const char *const name[] = {
		"sysenter", "sysexit",	/* #UD on AMD's CPUs in long mode */
		"syscall",		/* RF */
		"sgdt", "sidt",		/* with 66, 24 bits of the base */
		"bswap",		/* with 66, not 0 */
		"movbe",		/* with 66 and REX.W */
		"emms",			/* TOP stays */
		"clflush", "clflushopt", "clwb", /* no page is looked for */
		"int1",			/* is not there */
		"shld", "shrd",		/* of 16 bits by more */
		"cmpxchg8b",		/* upper halves stay, if equal */
		"call", "jmp", "ret",	/* to what is no address; with 66 */
		"adcx", "adox",		/* flags that are worked out later */
		"nop", "rdpid",		/* some are not there */
		"wrfsbase", "wrgsbase", "ldmxcsr", /* no #GP */
		"popa",			/* some registers, at a fault */
	};
	unsigned n;

	for (n = 0; n < sizeof(name) / sizeof(name[0]); n++)
		if (strcmp(i->i_op->o_name, name[n]) == 0)
			return (true);
	/* CR and DR that there are not: #GP */
	if (i->i_map == 1 && (i->i_opcode & 0xfc) == 0x20)
		return (true);
	/* TEST's other encoding is not there */
	if (i->i_map == 0 && (i->i_opcode & 0xfe) == 0xf6 &&
	    (i->i_reg & 7) == 1)
		return (true);
	return (gen_misemulated(i, oi));
}

bool
item_make(struct rng *r, bool compat, struct item *it)
{
	const struct shape *sh;
	struct insn i;
	uint64_t target;
	unsigned size;

	/* integer instructions are a tenth of the shapes and most of what
	 * translators have trouble with; an emulated CPU has it with others,
	 * which are for insn_test, one at a time */
	sh = rng_below(r, 2) || emulated_cpu() ? &plain[rng_below(r, nplain)] :
	    &shapes[rng_below(r, nshapes)];
	if (sh->sh_compat != compat)
		return (false);
	memset(it, 0, sizeof(*it));
	if (!gen_insn(r, sh, &it->it_insn, &i))
		return (false);
	if (is_rare(&i) && rng_below(r, 40) != 0)
		return (false);
	if (emulated_cpu() && misemulated(&i, &it->it_insn))
		return (false);
	if (i.i_op->o_imm == IMM_RELB || i.i_op->o_imm == IMM_RELZ) {
		it->it_relative = true;
		it->it_rel_size = i.i_op->o_imm == IMM_RELB ? 1 : 4;
	}
	it->it_undefined = i.i_op->o_undef != 0;
	size = i.i_op->o_msize != 0 && i.i_op->o_msize < MS_VL ?
	    i.i_op->o_msize : i.i_op->o_msize != 0 ? 32 : i.i_osize;
	if (i.i_flags & INSN_MEM && i.i_base == REG_RIP) {
		it->it_rip = true;
		it->it_disp = i.i_len - imm_size(&i) - 4;
	}
	if (i.i_flags & INSN_MEM && i.i_base < 16 &&
	    (i.i_op->o_rules & O_VSIB) == 0) {
		target = address(r, size);
		target -= i.i_seg == 4 ? 24 : i.i_seg == 5 ? 40 : 0;
		target -= (uint64_t)(int64_t)i.i_disp;
		if (i.i_index != REG_NONE) {
			uint64_t index = rng_below(r, 64);

			set(it, compat, i.i_index, index);
			target -= index << i.i_scale;
		}
		/* bit strings reach far */
		if (i.i_map == 1 && (i.i_opcode & 0xe7) == 0xa3 &&
		    i.i_reg != i.i_base && i.i_reg != i.i_index)
			set(it, compat, i.i_reg, rng_below(r, 512) - 256ul);
		set(it, compat, i.i_base, target);
	} else if (i.i_op->o_rules & O_VSIB && i.i_base < 16)
		set(it, compat, i.i_base, WINDOW + 0x800);
	if (i.i_op->o_rules & O_STRING) {
		set(it, compat, RCX, rng_below(r, 24));
		set(it, compat, RSI, address(r, size * 4));
		set(it, compat, RDI, address(r, size * 4));
	} else if (strcmp(i.i_op->o_name, "xlat") == 0)
		set(it, compat, RBX, WINDOW + 0x200);
	else if (is_stack(&i) && rng_below(r, 4) == 0)
		set(it, compat, strcmp(i.i_op->o_name, "leave") == 0 ? RBP :
		    RSP, address(r, 8));
	return (true);
}

unsigned
item_put(const struct item *it, uint8_t *code, uint32_t addr)
{
	uint8_t *p = code;
	int32_t d;

	memcpy(p, it->it_setup, it->it_setup_len);
	p += it->it_setup_len;
	memcpy(p, it->it_insn.oi_bytes, it->it_insn.oi_len);
	if (it->it_rip) {
		memcpy(&d, p + it->it_disp, 4);
		d -= (int32_t)(addr + (uint32_t)(p - code) - INSN_ADDR);
		memcpy(p + it->it_disp, &d, 4);
	}
	/* branches: over the next byte, which is a NOP */
	if (it->it_relative) {
		d = 1;
		memcpy(p + it->it_insn.oi_len - it->it_rel_size, &d,
		    it->it_rel_size);
		p[it->it_insn.oi_len] = 0x90;
		p++;
	}
	p += it->it_insn.oi_len;
	if (it->it_undefined) {
		*p++ = 0x39;	/* cmp eax, ebx */
		*p++ = 0xc3;
	}
	return ((unsigned)(p - code));
}

static bool
is_plain(const struct shape *sh)
{
	return ((sh->sh_op->o_rules & (O_X87 | O_MXCSR)) == 0 &&
	    (sh->sh_op->o_reg & R_CLASS) < R_MM &&
	    (sh->sh_op->o_rm & R_CLASS) < R_MM && !sh->sh_vex);
}

void
items_setup(struct rng *r, bool with_devices)
{
	unsigned n;

	devices = with_devices;
	gen_repeatable();
	gen_pool(r);
	shapes = gen_shapes(&nshapes);
	if ((plain = calloc(nshapes, sizeof(*plain))) == NULL)
		abort();
	for (n = 0; n < nshapes; n++)
		if (is_plain(&shapes[n]))
			plain[nplain++] = shapes[n];
}
