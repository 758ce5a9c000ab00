/*
 * One instruction on an engine (oracle.h), at CPL 3.
 *
 * The guest's own code is the instruction and an OUT that ends the run; the
 * TSS lets CPL 3 use that port and no other. A fault goes through the IDT to a
 * handler that is an OUT too: its port is the vector, and the frame on its
 * stack has the rest.
 */
#include "oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "../lib/bare.h"
#include "../lib/emulated.h"
#include "../lib/engine_options.h"
#include "engine/engine.h"
#include "engine/soft/cpu.h"
#include "engine/soft/decode.h"
#include "engine/soft/opcode.h"
#include "gen.h"
#include "vmm/cpuid.h"

/* Guest-physical layout */
#define RAM_SIZE	0x100000u
#define PML4		0x1000u
#define TABLES		0x2000u		/* the other page tables, as needed */
#define GDT		0x8000u
#define IDT		0x9000u
#define TSS		0xa000u
#define HANDLERS	0xb000u
#define STACK_TOP	0xd000u
#define RO_GPA		0x10000u
#define WINDOW_GPA	0x11000u
#define CODE_GPA	0x20000u

/* The guest's kernel half. */
#define KERNEL		0xffff800000000000u

#define PTE_P		1u
#define PTE_W		2u
#define PTE_U		4u

#define SEL_KCODE	0x08
#define SEL_UCODE32	0x23		/* as the host's */
#define SEL_UDATA	0x2b
#define SEL_UCODE64	0x33
#define SEL_TSS		0x40

#define PORT_VECTOR	0x40
#define PORT_DONE	0xe0
#define PORT_TARGET	0xe1

struct guest {
	const struct engine_ops *g_ops;
	uint8_t		*g_ram;
	uint32_t	 g_table;	/* the next page table */
	struct engine_vm *g_vm;
	struct engine_vcpu *g_vcpu;
};

static struct guest guests[ORACLE_GUESTS];
static struct bare bare;
static struct vcpu_reg_state initial;	/* at the first instruction, 64-bit */
static char reason[160];

/* --- the guest -------------------------------------------------------------------- */

static void
put64(struct guest *g, uint32_t gpa, uint64_t v)
{
	memcpy(g->g_ram + gpa, &v, sizeof(v));
}

static uint64_t
get64(const struct guest *g, uint32_t gpa)
{
	uint64_t v;

	memcpy(&v, g->g_ram + gpa, sizeof(v));
	return (v);
}

static void
map(struct guest *g, uint64_t linear, uint32_t gpa, unsigned flags)
{
	uint32_t table = PML4, entry;
	int shift;

	for (shift = 39; shift > 12; shift -= 9) {
		entry = table + (uint32_t)(linear >> shift & 511) * 8;
		if (get64(g, entry) == 0) {
			put64(g, entry, g->g_table | PTE_P | PTE_W | PTE_U);
			g->g_table += 0x1000;
			/* the kernel's other pages are elsewhere */
			if (g->g_table == GDT)
				g->g_table = 0x30000;
		}
		table = (uint32_t)get64(g, entry) & ~0xfffu;
	}
	put64(g, table + (uint32_t)(linear >> 12 & 511) * 8, gpa | flags);
}

static void
build(struct guest *g)
{
	unsigned v;

	for (v = 0; v < 0x10; v++)
		map(g, KERNEL + v * 0x1000, v * 0x1000, PTE_P | PTE_W);
	map(g, READONLY, RO_GPA, PTE_P | PTE_U);
	map(g, WINDOW, WINDOW_GPA, PTE_P | PTE_W | PTE_U);
	map(g, WINDOW + 0x1000, WINDOW_GPA + 0x1000, PTE_P | PTE_W | PTE_U);
	map(g, CODE, CODE_GPA, PTE_P | PTE_W | PTE_U);

	put64(g, GDT + SEL_KCODE, 0x00af9b000000ffff);
	put64(g, GDT + (SEL_UCODE32 & ~7), 0x00cffb000000ffff);
	put64(g, GDT + (SEL_UDATA & ~7), 0x00cff3000000ffff);
	put64(g, GDT + (SEL_UCODE64 & ~7), 0x00affb000000ffff);

	for (v = 0; v < 32; v++) {
		uint64_t off = KERNEL + HANDLERS + v * 16;

		/* interrupt gate, IST 1; DPL 3 for INT3 and INTO */
		put64(g, IDT + v * 16, (off & 0xffff) | SEL_KCODE << 16 |
		    1ull << 32 | (v == 3 || v == 4 ? 0xeeull : 0x8eull) << 40 |
		    (off >> 16 & 0xffff) << 48);
		put64(g, IDT + v * 16 + 8, off >> 32);
		g->g_ram[HANDLERS + v * 16] = 0xe6;		/* out imm8, al */
		g->g_ram[HANDLERS + v * 16 + 1] = (uint8_t)(PORT_VECTOR + v);
		g->g_ram[HANDLERS + v * 16 + 2] = 0xf4;	/* hlt */
	}
	put64(g, TSS + 0x24, KERNEL + STACK_TOP);		/* IST1 */
	g->g_ram[TSS + 0x66] = 0x68;				/* I/O bitmap */
	memset(g->g_ram + TSS + 0x68, 0xff, 33);
	g->g_ram[TSS + 0x68 + PORT_DONE / 8] = 0xfc;
}

static void
build_registers(void)
{
	struct vcpu_segment_info *s = initial.vrs_sregs;

	initial.vrs_crs[VCPU_REGS_CR0] = CR0_PE | CR0_MP | CR0_ET | CR0_NE |
	    CR0_WP | CR0_AM | CR0_PG;
	initial.vrs_crs[VCPU_REGS_CR3] = PML4;
	initial.vrs_crs[VCPU_REGS_CR4] = CR4_PAE | CR4_OSFXSR |
	    CR4_OSXMMEXCPT;
	if (soft_decode_mode(false)->dm_features >> FEAT_XSAVE & 1)
		initial.vrs_crs[VCPU_REGS_CR4] |= CR4_OSXSAVE;
	initial.vrs_crs[VCPU_REGS_XCR0] = cpuid_xcr0_mask();
	initial.vrs_msrs[VCPU_REGS_EFER] = EFER_SCE | EFER_LME | EFER_LMA |
	    EFER_NXE;
	initial.vrs_drs[4] = DR6_ONES;
	initial.vrs_drs[5] = DR7_ONES;
	bare_segment(&s[VCPU_REGS_CS], SEL_UCODE64, 0xa0fb);
	bare_segment(&s[VCPU_REGS_SS], SEL_UDATA, 0xc0f3);
	bare_segment(&s[VCPU_REGS_DS], SEL_UDATA, 0xc0f3);
	bare_segment(&s[VCPU_REGS_ES], SEL_UDATA, 0xc0f3);
	s[VCPU_REGS_FS].vsi_ar = s[VCPU_REGS_GS].vsi_ar =
	    s[VCPU_REGS_LDTR].vsi_ar = 0x10000;		/* unusable */
	bare_segment(&s[VCPU_REGS_TR], SEL_TSS, emulated_cpu() ? 0x89 : 0x8b);
	s[VCPU_REGS_TR].vsi_base = KERNEL + TSS;
	s[VCPU_REGS_TR].vsi_limit = 0x68 + 32;
	initial.vrs_gdtr.vsi_base = KERNEL + GDT;
	initial.vrs_gdtr.vsi_limit = 0x4f;
	initial.vrs_idtr.vsi_base = KERNEL + IDT;
	initial.vrs_idtr.vsi_limit = 32 * 16 - 1;
	initial.vrs_gprs[VCPU_REGS_RIP] = INSN_ADDR;
	initial.vrs_gprs[VCPU_REGS_RFLAGS] = FL_R1 | FL_IF;
}

bool
guest_setup(unsigned which, const char *engine, const char **why)
{
	struct guest *g = &guests[which];
	struct engine_range range = { 0, NULL, RAM_SIZE };
	struct engine_vm_config config = {
		.ev_ranges = &range, .ev_nranges = 1,
		.ev_tsc_khz = 1000000, .ev_writes_reported = true
	};
	int error;

	g->g_ops = engine_named(engine, &config.ev_options);
	g->g_table = TABLES;
	g->g_ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g->g_ram == MAP_FAILED) {
		*why = "no memory";
		return (false);
	}
	range.er_host = g->g_ram;
	build(g);
	build_registers();
	if ((error = g->g_ops->eo_vm_new(&config, &g->g_vm)) != 0 ||
	    (error = g->g_ops->eo_vcpu_new(g->g_vm, 0, &bare_host, &bare,
	    &g->g_vcpu)) != 0 ||
	    (error = g->g_ops->eo_reset(g->g_vcpu, &initial)) != 0) {
		*why = strerror(error);
		return (false);
	}
	return (true);
}

/* The rest of a fault, from its frame: error code, RIP, CS, RFLAGS, RSP, SS. */
static void
fault(const struct guest *g, struct oracle_state *out, unsigned vector)
{
	static const uint32_t with_error = 1u << 8 | 0x1fu << 10 | 1u << 17;
	struct vcpu_reg_state r;

	out->os_vector = (uint8_t)vector;
	out->os_rip = get64(g, STACK_TOP - 40);
	out->os_rflags = get64(g, STACK_TOP - 24);
	out->os_gpr[RSP] = get64(g, STACK_TOP - 16);
	out->os_error = with_error >> vector & 1 ?
	    (uint32_t)get64(g, STACK_TOP - 48) : 0;
	if (vector == 14) {
		g->g_ops->eo_getregs(g->g_vcpu, VM_RWREGS_CRS, &r);
		out->os_cr2 = r.vrs_crs[VCPU_REGS_CR2];
	}
}

const char *
guest_run(unsigned which, const struct oracle_batch *b,
    struct oracle_state *out, uint8_t *win)
{
	struct guest *g = &guests[which];
	const struct oracle_insn *oi = &b->b_insn;
	const struct oracle_state *in = b->b_in;
	static const uint8_t done[] = { 0xe6, PORT_DONE, 0xf4 };
	static const uint8_t target[] = { 0xe6, PORT_TARGET, 0xf4 };
	struct vcpu_reg_state r = initial;
	struct engine_run run;
	bool first = true;
	unsigned n, m, port, tries;
	int error;

	memset(g->g_ram + CODE_GPA, 0xf4, 0x1000);
	memcpy(g->g_ram + CODE_GPA + (INSN_ADDR - CODE), oi->oi_bytes,
	    oi->oi_len);
	memcpy(g->g_ram + CODE_GPA + (INSN_ADDR - CODE) + oi->oi_len, done,
	    sizeof(done));
	memcpy(g->g_ram + CODE_GPA + (TARGET_ADDR - CODE), target,
	    sizeof(target));
	g->g_ops->eo_written(g->g_vm, CODE_GPA, 0x1000);
	memset(g->g_ram + WINDOW_GPA, 0, WINDOW_SIZE);
	if (oi->oi_compat) {
		r.vrs_sregs[VCPU_REGS_CS].vsi_sel = SEL_UCODE32;
		r.vrs_sregs[VCPU_REGS_CS].vsi_ar = 0xc0fb;
	}

	for (n = 0; n < b->b_count; n++) {
		for (m = 0; m < 16; m++)
			r.vrs_gprs[bare_gpr[m]] = in[n].os_gpr[m];
		r.vrs_gprs[VCPU_REGS_RFLAGS] = in[n].os_rflags;
		r.vrs_gprs[VCPU_REGS_RIP] = INSN_ADDR;
		error = g->g_ops->eo_setregs(g->g_vcpu, VM_RWREGS_GPRS |
		    (first || emulated_cpu() ? VM_RWREGS_SREGS : 0), &r);
		if (error == 0)
			error = g->g_ops->eo_setxstate(g->g_vcpu,
			    in[n].os_xstate);
		if (error != 0) {
			snprintf(reason, sizeof(reason), "state refused: %s",
			    strerror(error));
			return (reason);
		}
		first = false;
		memcpy(g->g_ram + WINDOW_GPA + ACTIVE_A, in[n].os_a,
		    ACTIVE_A_SIZE);
		memcpy(g->g_ram + WINDOW_GPA + ACTIVE_B, in[n].os_b,
		    ACTIVE_B_SIZE);

		for (tries = 0; tries < 1000; tries++) {
			memset(&run, 0, sizeof(run));
			run.er_inject = -1;
			if (!emulated_run(g->g_ops, g->g_vcpu, &run, &error))
				return (ORACLE_LACKS);
			if (error != 0 || run.er_exit != ENGINE_EXIT_KICK)
				break;
		}
		if (error != 0 || run.er_exit != ENGINE_EXIT_IO) {
			snprintf(reason, sizeof(reason),
			    "engine: error %d, exit %d at state %u", error,
			    (int)run.er_exit, n);
			return (reason);
		}
		g->g_ops->eo_getregs(g->g_vcpu, VM_RWREGS_GPRS, &r);
		for (m = 0; m < 16; m++)
			out[n].os_gpr[m] = r.vrs_gprs[bare_gpr[m]];
		if (oi->oi_compat)
			memset(out[n].os_gpr + 8, 0, 8 * sizeof(uint64_t));
		out[n].os_rflags = r.vrs_gprs[VCPU_REGS_RFLAGS];
		out[n].os_rip = r.vrs_gprs[VCPU_REGS_RIP] - 2;
		out[n].os_vector = VECTOR_NONE;
		out[n].os_error = 0;
		out[n].os_cr2 = 0;
		g->g_ops->eo_getxstate(g->g_vcpu, out[n].os_xstate);
		port = run.er_io.vei_port;
		if (port != PORT_DONE && port != PORT_TARGET) {
			fault(g, &out[n], port - PORT_VECTOR);
			first = true;
		}
		memcpy(out[n].os_a, g->g_ram + WINDOW_GPA + ACTIVE_A,
		    ACTIVE_A_SIZE);
		memcpy(out[n].os_b, g->g_ram + WINDOW_GPA + ACTIVE_B,
		    ACTIVE_B_SIZE);
	}
	memcpy(win, g->g_ram + WINDOW_GPA, WINDOW_SIZE);
	return (NULL);
}
