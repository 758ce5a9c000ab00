/*
 * A decoded instruction, and how its handler is called.
 *
 * The decoder fills struct insn from the tables (opcode.h); blocks cache it;
 * the handler executes it any number of times. Everything a handler needs is
 * here: handlers do not look at code bytes.
 */
#ifndef SOFT_INSN_H
#define SOFT_INSN_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct insn;
struct opcode;

/*
 * Executes i on c. On entry c_rip is past the instruction and c_insn is i. May
 * not return (cpu.h: cpu_fault, cpu_leave).
 */
typedef void insn_fn(struct cpu *c, const struct insn *i);

#define INSN_MAXLEN	15
/* As base or index: nothing (c_gpr[16] is always zero), and RIP-relative. */
#define REG_NONE	16
#define REG_RIP		17

/* i_flags */
#define INSN_MEM	0x0001	/* the r/m operand is memory */
#define INSN_LOCK	0x0002	/* F0 */
#define INSN_REP	0x0004	/* F3 as a repeat prefix */
#define INSN_REPNE	0x0008	/* F2 as a repeat prefix */
#define INSN_REX	0x0010	/* some REX: byte registers 4..7 are SPL..DIL */
#define INSN_REXW	0x0020	/* REX.W or VEX.W */
#define INSN_VEX	0x0040
#define INSN_L		0x0080	/* VEX.L: 256 bits */
#define INSN_END	0x0100	/* ends a block: may change RIP, mode, requests */
#define INSN_IO		0x0200	/* may leave run() with ENGINE_EXIT_IO */
#define INSN_66		0x0400	/* 66 present, or in VEX.pp */
#define INSN_F3		0x0800	/* F3 present (last of F2/F3), or in VEX.pp */
#define INSN_F2		0x1000	/* F2 present (last of F2/F3), or in VEX.pp */
#define INSN_67		0x2000	/* 67 present */
#define INSN_SEGPFX	0x4000	/* i_seg comes from a prefix */

struct insn {
	insn_fn		*i_exec;
	const struct opcode *i_op;	/* its row: name, operands, rules */
	uint64_t	 i_imm;		/* immediate, moffs or branch
					   displacement, sign-extended as the
					   row says */
	int32_t		 i_disp;	/* of the memory operand */
	uint16_t	 i_flags;
	uint16_t	 i_imm2;	/* far selector; ENTER's second */
	uint8_t		 i_len;		/* 1..15 */
	uint8_t		 i_osize;	/* operand size in bytes: 1, 2, 4, 8 */
	uint8_t		 i_asize;	/* address size in bytes: 2, 4, 8 */
	uint8_t		 i_modrm;	/* as found, 0 without one */
	uint8_t		 i_reg;		/* ModRM.reg + REX.R */
	uint8_t		 i_rm;		/* register operand: ModRM.rm + REX.B;
					   without ModRM: opcode[2:0] + REX.B */
	uint8_t		 i_base;	/* memory operand: GPR, REG_RIP or NONE */
	uint8_t		 i_index;	/* GPR or REG_NONE */
	uint8_t		 i_scale;	/* shift count 0..3 */
	uint8_t		 i_seg;		/* SEG_* that the memory operand uses */
	uint8_t		 i_vvvv;	/* VEX.vvvv, plain (not inverted) */
	uint8_t		 i_map;		/* opcode map 0 (one byte), 1 (0F),
					   2 (0F38), 3 (0F3A) */
	uint8_t		 i_opcode;	/* the opcode byte in its map */
	void		*i_stub;	/* simd: host code made for it, or NULL */
};

#endif
