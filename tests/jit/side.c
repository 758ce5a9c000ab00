/*
 * The two sides (side.h).
 */
#include "side.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <Zydis/Zydis.h>

#include "../lib/bare.h"
#include "../lib/emulated.h"
#include "../lib/engine_options.h"
#include "engine/soft/cpu.h"
#include "engine/soft/decode.h"
#include "engine/soft/direct/direct.h"
#include "engine/soft/jit/jit.h"
#include "engine/soft/opcode.h"
#include "vmm/cpuid.h"

#define GDT		0x8000u
#define IDT		0x9000u
#define TSS		0xa000u
#define TABLES		0x2000u		/* the first six page tables */
#define TABLES_MORE	0x30000u	/* the others */
#define EXITS_MAX	100000

#define JIT(words)	"jit,hot=1" words
const char *const side_options[] = {
	JIT(""), JIT(",tier=2,traces"), JIT(",exact,tier=1"), JIT(",nochain"),
	JIT(",insns=1"), JIT(",tlb=64,exits=3"), JIT(",flush=5"),
	JIT(",nobmi2,noavx,nofsgsbase"), JIT(",lockstep"), NULL
};

/* A side executes directly: AMD's CPUs do not load the pointers of x87 while no
 * exception is pending. */
static bool no_pointers;

/* --- what the engine asks the monitor ---------------------------------------- */

static void
device(struct side *sd, uint64_t gpa, unsigned size, uint64_t data)
{
	sd->sd_devices = (sd->sd_devices ^ gpa ^ (uint64_t)size << 56 ^ data) *
	    0x9e3779b97f4a7c15u;
	sd->sd_devices ^= sd->sd_devices >> 29;
}

/* A device: half of its registers answer at once. */
static bool
mmio_read(void *arg, uint64_t gpa, unsigned size, uint64_t *data)
{
	struct side *sd = arg;

	if (gpa & 0x800)
		return (false);
	device(sd, gpa, size, 0);
	*data = sd->sd_devices;
	return (true);
}

static bool
mmio_write(void *arg, uint64_t gpa, unsigned size, uint64_t data)
{
	if (gpa & 0x800)
		return (false);
	device(arg, gpa, size | 0x80, data);
	return (true);
}

static uint64_t
read_cr8(void *arg)
{
	(void)arg;
	return (0);
}

static void
write_cr8(void *arg, uint64_t value)
{
	(void)arg, (void)value;
}

static const struct engine_host host = {
	.eh_mmio_read = mmio_read, .eh_mmio_write = mmio_write,
	.eh_rdmsr = bare_rdmsr, .eh_wrmsr = bare_wrmsr,
	.eh_read_cr8 = read_cr8, .eh_write_cr8 = write_cr8,
	.eh_cpuid = bare_cpuid
};

/* --- the guest's memory -------------------------------------------------------- */

static uint64_t
get64(const struct side *sd, uint32_t gpa)
{
	uint64_t v;

	memcpy(&v, sd->sd_ram + gpa, sizeof(v));
	return (v);
}

static void
put64(struct side *sd, uint32_t gpa, uint64_t v)
{
	memcpy(sd->sd_ram + gpa, &v, sizeof(v));
}

void
side_put(struct side *sd, uint32_t gpa, const void *data, size_t len)
{
	memcpy(sd->sd_ram + gpa, data, len);
	sd->sd_ops->eo_written(sd->sd_vm, gpa, len);
}

uint32_t
side_pte(const struct side *sd, uint64_t linear)
{
	uint32_t table = PML4_GPA;
	int shift;

	for (shift = 39; shift > 12; shift -= 9)
		table = (uint32_t)get64(sd, table +
		    (uint32_t)(linear >> shift & 511) * 8) & ~0xfffu;
	return (table + (uint32_t)(linear >> 12 & 511) * 8);
}

void
side_map(struct side *sd, uint64_t linear, uint64_t gpa, uint64_t flags)
{
	uint32_t table = PML4_GPA, entry;
	int shift;

	for (shift = 39; shift > 12; shift -= 9) {
		entry = table + (uint32_t)(linear >> shift & 511) * 8;
		if (get64(sd, entry) == 0) {
			put64(sd, entry, sd->sd_table | PTE_P | PTE_W | PTE_U |
			    PTE_A);
			sd->sd_table += 0x1000;
			if (sd->sd_table == GDT)
				sd->sd_table = TABLES_MORE;
			if (sd->sd_table == RAM_SIZE)
				abort();
		}
		table = (uint32_t)get64(sd, entry) & ~0xfffu;
	}
	put64(sd, table + (uint32_t)(linear >> 12 & 511) * 8, gpa | flags);
}

void
side_reset(struct side *sd)
{
	/* Interrupts are not to leave A and D bits: those of the user's pages
	 * alone begin as zero. */
	const uint64_t user = PTE_P | PTE_W | PTE_U;
	uint8_t *ram = sd->sd_ram;
	unsigned v;

	memset(ram, 0, RAM_SIZE);
	sd->sd_table = TABLES;
	sd->sd_devices = 1;
	for (v = 0; v < RAM_SIZE / 0x1000; v++)
		side_map(sd, KERNEL + v * 0x1000, v * 0x1000, PTE_P | PTE_W |
		    PTE_A | PTE_D);
	for (v = 0; v < DATA_SIZE / 0x1000; v++)
		side_map(sd, READONLY + v * 0x1000 + (v > 2 ? 0x1000 : 0) +
		    (v > 4 ? 0x1000 : 0), DATA_GPA + v * 0x1000,
		    (v == 0 ? PTE_P | PTE_U : v == 4 ? PTE_P | PTE_W : user) |
		    PTE_NX);
	side_map(sd, MMIO, MMIO_GPA, user | PTE_NX);
	for (v = 0; v < CODE_PAGES; v++) {
		side_map(sd, CODE + v * 0x1000, CODE_GPA + v * 0x1000, user);
		side_map(sd, ALIAS + v * 0x1000, CODE_GPA + v * 0x1000,
		    user | PTE_NX);
	}
	memset(ram + CODE_GPA, 0xf4, CODE_PAGES * 0x1000);
	memset(ram + KERNEL_GPA, 0xf4, 0x4000);

	put64(sd, GDT + SEL_KCODE, 0x00af9b000000ffff);
	put64(sd, GDT + SEL_KDATA, 0x00cf93000000ffff);
	put64(sd, GDT + (SEL_UCODE32 & ~7), 0x00cffb000000ffff);
	put64(sd, GDT + (SEL_UDATA & ~7), 0x00cff3000000ffff);
	put64(sd, GDT + (SEL_UCODE64 & ~7), 0x00affb000000ffff);
	for (v = 0; v < 256; v++) {
		uint64_t off = KERNEL + HANDLERS_GPA + v * 16;

		/* interrupt gate, IST 1; DPL 3 for INT3, INTO, and from 32 */
		put64(sd, IDT + v * 16, (off & 0xffff) | SEL_KCODE << 16 |
		    1ull << 32 | (v == 3 || v == 4 || v >= 32 ? 0xeeull :
		    0x8eull) << 40 | (off >> 16 & 0xffff) << 48);
		put64(sd, IDT + v * 16 + 8, off >> 32);
		ram[HANDLERS_GPA + v * 16] = 0xe6;	/* out imm8, al */
		ram[HANDLERS_GPA + v * 16 + 1] =
		    (uint8_t)(PORT_VECTOR + (v & 31));
		ram[HANDLERS_GPA + v * 16 + 2] = 0xf4;	/* hlt */
	}
	put64(sd, TSS + 4, KERNEL + STACK_GPA);
	put64(sd, TSS + 0x24, KERNEL + STACK_GPA);	/* IST1 */
	ram[TSS + 0x66] = 0x68;				/* I/O bitmap */
	memset(ram + TSS + 0x68, 0xff, 33);
	ram[TSS + 0x68 + PORT_DONE / 8] = 0xfc;
	if (sd->sd_vm != NULL)
		sd->sd_ops->eo_written(sd->sd_vm, 0, RAM_SIZE);
}

/* --- registers ---------------------------------------------------------------------- */

static void
initial(struct vcpu_reg_state *r)
{
	static const unsigned data[] = { VCPU_REGS_SS, VCPU_REGS_DS,
	    VCPU_REGS_ES, VCPU_REGS_FS, VCPU_REGS_GS };
	struct vcpu_segment_info *s = r->vrs_sregs;
	struct decode_mode dm;
	unsigned n;

	memset(r, 0, sizeof(*r));
	decode_mode_init(&dm, &host, NULL);
	r->vrs_crs[VCPU_REGS_CR0] = CR0_PE | CR0_MP | CR0_ET | CR0_NE |
	    CR0_WP | CR0_AM | CR0_PG;
	r->vrs_crs[VCPU_REGS_CR3] = PML4_GPA;
	r->vrs_crs[VCPU_REGS_CR4] = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT |
	    CR4_PGE;
	if (dm.dm_features >> FEAT_XSAVE & 1)
		r->vrs_crs[VCPU_REGS_CR4] |= CR4_OSXSAVE;
	if (dm.dm_features >> FEAT_FSGSBASE & 1)
		r->vrs_crs[VCPU_REGS_CR4] |= CR4_FSGSBASE;
	r->vrs_crs[VCPU_REGS_XCR0] = cpuid_xcr0_mask();
	r->vrs_msrs[VCPU_REGS_EFER] = EFER_SCE | EFER_LME | EFER_LMA |
	    EFER_NXE;
	r->vrs_msrs[VCPU_REGS_STAR] = (uint64_t)(SEL_UCODE32 & ~3) << 48 |
	    (uint64_t)SEL_KCODE << 32;
	r->vrs_msrs[VCPU_REGS_LSTAR] = KERNEL + KERNEL_GPA;
	r->vrs_msrs[VCPU_REGS_CSTAR] = KERNEL + KERNEL_GPA;
	r->vrs_msrs[VCPU_REGS_SFMASK] = FL_TF | FL_IF | FL_DF | FL_AC;
	r->vrs_msrs[VCPU_REGS_MISC_ENABLE] = 1;
	r->vrs_drs[4] = DR6_ONES;
	r->vrs_drs[5] = DR7_ONES;
	bare_segment(&s[VCPU_REGS_CS], SEL_UCODE64, 0xa0fb);
	for (n = 0; n < sizeof(data) / sizeof(data[0]); n++)
		bare_segment(&s[data[n]], SEL_UDATA, 0xc0f3);
	/* a little off, so that a base that is forgotten is found out */
	s[VCPU_REGS_FS].vsi_base = 24;
	s[VCPU_REGS_GS].vsi_base = 40;
	s[VCPU_REGS_LDTR].vsi_ar = 0x10000;		/* unusable */
	/* busy, but where its I/O bitmap is of no use then (emulated.h) */
	bare_segment(&s[VCPU_REGS_TR], SEL_TSS, emulated_cpu() ? 0x89 : 0x8b);
	s[VCPU_REGS_TR].vsi_base = KERNEL + TSS;
	s[VCPU_REGS_TR].vsi_limit = 0x68 + 32;
	r->vrs_gdtr.vsi_base = KERNEL + GDT;
	r->vrs_gdtr.vsi_limit = 0x4f;
	r->vrs_idtr.vsi_base = KERNEL + IDT;
	r->vrs_idtr.vsi_limit = 256 * 16 - 1;
	r->vrs_gprs[VCPU_REGS_RFLAGS] = FL_R1 | FL_IF;
}

static _Noreturn void
die(const char *what, int error)
{
	printf("# %s: %s\n", what, strerror(error));
	exit(1);
}

void
side_new(struct side *sd, const char *options)
{
	struct engine_range range = { 0, NULL, RAM_SIZE };
	struct engine_vm_config config = {
		.ev_ranges = &range, .ev_nranges = 1,
		.ev_tsc_khz = 1000000, .ev_writes_reported = true
	};
	bool direct = strstr(options, "direct") != NULL;
	int error, fd;

	memset(sd, 0, sizeof(*sd));
	sd->sd_name = options;
	sd->sd_ops = engine_named(options, &config.ev_options);
	no_pointers = no_pointers || direct;
	/* an emulated CPU may change flags before it writes */
	sd->sd_exact = strstr(options, "interp") != NULL ||
	    strstr(options, "exact") != NULL ||
	    strstr(options, "lockstep") != NULL ||
	    (sd->sd_ops != &engine_soft && !emulated_cpu());
	if ((fd = memfd_create("side", MFD_CLOEXEC)) == -1 ||
	    ftruncate(fd, RAM_SIZE) == -1)
		die("memory", errno);
	sd->sd_ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
	    fd, 0);
	if (sd->sd_ram == MAP_FAILED)
		die("memory", ENOMEM);
	range.er_host = sd->sd_ram;
	side_reset(sd);
	initial(&sd->sd_initial);
	if ((error = sd->sd_ops->eo_vm_new(&config, &sd->sd_vm)) != 0 ||
	    (direct && (error = sd->sd_ops->eo_share(sd->sd_vm, sd->sd_ram,
	    RAM_SIZE, fd, 0)) != 0) ||
	    (error = sd->sd_ops->eo_vcpu_new(sd->sd_vm, 0, &host, sd,
	    &sd->sd_vcpu)) != 0 ||
	    (error = sd->sd_ops->eo_reset(sd->sd_vcpu, &sd->sd_initial)) != 0)
		die(options, error);
	close(fd);
}

void
side_print_counts(const struct side *sd)
{
	/* a VCPU begins with its struct cpu */
	const struct cpu *c = (const struct cpu *)(const void *)sd->sd_vcpu;
	const struct jit_stats *s;

	if (sd->sd_ops != &engine_soft || c->c_jit == NULL)
		return;
	s = &c->c_jit->j_stats;
	printf("#   %llu translations of %llu instructions, %llu traces, "
	    "entered %llu times; %llu blocks and %llu single instructions "
	    "interpreted\n", (unsigned long long)s->js_translated,
	    (unsigned long long)s->js_insns,
	    (unsigned long long)s->js_traces, (unsigned long long)s->js_enter,
	    (unsigned long long)s->js_interp_blocks,
	    (unsigned long long)s->js_interp_insns);
	if (c->c_direct != NULL)
		printf("#   executed directly: %llu stops, %llu pages mapped, "
		    "%llu not fit, error %d\n",
		    (unsigned long long)c->c_direct->d_stats.stops,
		    (unsigned long long)c->c_direct->d_stats.mapped,
		    (unsigned long long)c->c_direct->d_stats.unfit,
		    c->c_direct->d_why);
}

void
side_free(struct side *sd)
{
	side_watch(NULL);
	sd->sd_ops->eo_vcpu_free(sd->sd_vcpu);
	sd->sd_ops->eo_vm_free(sd->sd_vm);
	munmap(sd->sd_ram, RAM_SIZE);
}

void
side_load(struct side *sd, const struct oracle_state *in, enum side_mode mode)
{
	struct vcpu_reg_state r = sd->sd_initial;
	unsigned n;
	int error;

	for (n = 0; n < 16; n++)
		r.vrs_gprs[bare_gpr[n]] = in->os_gpr[n];
	r.vrs_gprs[VCPU_REGS_RFLAGS] = in->os_rflags;
	r.vrs_gprs[VCPU_REGS_RIP] = in->os_rip;
	/* with FS and GS as a process of Linux's has them */
	for (n = VCPU_REGS_FS; mode == SIDE_USER64 && n <= VCPU_REGS_GS; n++) {
		r.vrs_sregs[n].vsi_sel = 0;
		r.vrs_sregs[n].vsi_ar = 0x10000;
	}
	if (mode == SIDE_USER32)
		bare_segment(&r.vrs_sregs[VCPU_REGS_CS], SEL_UCODE32, 0xc0fb);
	if (mode == SIDE_KERNEL64) {
		bare_segment(&r.vrs_sregs[VCPU_REGS_CS], SEL_KCODE, 0xa09b);
		bare_segment(&r.vrs_sregs[VCPU_REGS_SS], SEL_KDATA, 0xc093);
	}
	/* What the TLB knows of other page tables goes with PGE; the soft
	 * engine has been told of these. */
	if (sd->sd_ops != &engine_soft) {
		r.vrs_crs[VCPU_REGS_CR4] ^= CR4_PGE;
		(void)sd->sd_ops->eo_setregs(sd->sd_vcpu, VM_RWREGS_CRS, &r);
		r.vrs_crs[VCPU_REGS_CR4] ^= CR4_PGE;
	}
	error = sd->sd_ops->eo_setregs(sd->sd_vcpu, VM_RWREGS_ALL, &r);
	if (error == 0)
		error = sd->sd_ops->eo_setxstate(sd->sd_vcpu, in->os_xstate);
	if (error != 0)
		die("state", error);
}

/* --- running ----------------------------------------------------------------------------- */

void
side_answer(struct side *sd, struct engine_run *run)
{
	run->er_complete = true;
	if (run->er_exit == ENGINE_EXIT_IO) {
		run->er_data = run->er_io.vei_port * 0x01010101u;
		return;
	}
	device(sd, run->er_mmio.gpa, run->er_mmio.size |
	    (run->er_mmio.write ? 0x80u : 0),
	    run->er_mmio.write ? run->er_mmio.data : 0);
	run->er_data = sd->sd_devices;
}

unsigned
side_go(struct side *sd)
{
	struct engine_run run;
	unsigned tries;
	int error;

	side_watch(sd);
	memset(&run, 0, sizeof(run));
	run.er_inject = -1;
	for (tries = 0; tries < EXITS_MAX; tries++) {
		if (!emulated_run(sd->sd_ops, sd->sd_vcpu, &run, &error))
			return (0x30000);
		if (error != 0)
			die("run", error);
		switch (run.er_exit) {
		case ENGINE_EXIT_IO:
			if (run.er_io.vei_dir == VEI_DIR_OUT)
				return (run.er_io.vei_port);
			/* FALLTHROUGH */
		case ENGINE_EXIT_MMIO:
			side_answer(sd, &run);
			break;
		case ENGINE_EXIT_KICK:
			run.er_complete = false;
			if (side_stuck())
				return (0x20000);
			break;
		default:
			return (0x10000u + run.er_exit);
		}
	}
	return (0x20000);
}

static const uint32_t with_error = 1u << 8 | 0x1fu << 10 | 1u << 17;

void
side_take(struct side *sd, unsigned port, struct oracle_state *out)
{
	struct vcpu_reg_state r;
	unsigned m;

	sd->sd_ops->eo_getregs(sd->sd_vcpu, VM_RWREGS_ALL, &r);
	sd->sd_ops->eo_getxstate(sd->sd_vcpu, out->os_xstate);
	for (m = 0; m < 16; m++)
		out->os_gpr[m] = r.vrs_gprs[bare_gpr[m]];
	out->os_rflags = r.vrs_gprs[VCPU_REGS_RFLAGS];
	out->os_rip = r.vrs_gprs[VCPU_REGS_RIP];
	out->os_vector = VECTOR_NONE;
	out->os_error = 0;
	out->os_cr2 = 0;
	if (port >= 0x10000) {
		out->os_vector = port >= 0x30000 ? VECTOR_LACKS :
		    port >= 0x20000 ? VECTOR_STUCK : VECTOR_EXIT;
		out->os_error = port & 0xffff;
	} else if (port < PORT_DONE) {
		out->os_vector = (uint8_t)(port - PORT_VECTOR);
		out->os_rip = get64(sd, STACK_GPA - 40);
		out->os_rflags = get64(sd, STACK_GPA - 24);
		out->os_gpr[RSP] = get64(sd, STACK_GPA - 16);
		if (with_error >> out->os_vector & 1)
			out->os_error = (uint32_t)get64(sd, STACK_GPA - 48);
		if (out->os_vector == 14)
			out->os_cr2 = r.vrs_crs[VCPU_REGS_CR2];
	} else if (port == PORT_TARGET)
		out->os_error = 1;
	/* frames are compared as what they say */
	memset(sd->sd_ram + STACK_GPA - 0x1000, 0, 0x1000);
}

void
side_run(struct side *sd, struct oracle_state *out)
{
	side_take(sd, side_go(sd), out);
}

/* --- comparing ------------------------------------------------------------------------------ */

static const char *const gpr_name[16] = { "rax", "rcx", "rdx", "rbx", "rsp",
    "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };

static bool
word(const char *what, uint64_t i, uint64_t a, uint64_t b, bool print)
{
	if (a != b && print)
		printf("#     %-8s from %#llx interpreted %#llx translated "
		    "%#llx\n", what, (unsigned long long)i,
		    (unsigned long long)a, (unsigned long long)b);
	return (a == b);
}

static bool
bytes(const char *what, unsigned n, const uint8_t *i, const uint8_t *a,
    const uint8_t *b, unsigned len, bool print)
{
	const uint8_t *row[3] = { i, a, b };
	static const char *const name[3] = { "from", "interpreted",
	    "translated" };
	unsigned k, m;

	if (memcmp(a, b, len) == 0)
		return (true);
	if (!print)
		return (false);
	for (k = 0; k < 3; k++) {
		printf("#     %s%-4u %-12s", what, n, name[k]);
		for (m = len; m-- > 0;)
			printf("%02x%s", row[k][m], m % 8 == 0 ? " " : "");
		printf("\n");
	}
	return (false);
}

bool
side_same(const struct oracle_state *in, const struct oracle_state *a,
    const struct oracle_state *b, bool print)
{
	return (side_same_flags(in, a, b, true, print));
}

/* An emulated CPU has #GP for stacks whose address is not canonical, too. */
static uint8_t
vector(const struct oracle_state *os)
{
	return (os->os_vector == 12 && emulated_cpu() ? 13 : os->os_vector);
}

bool
side_same_flags(const struct oracle_state *in, const struct oracle_state *a,
    const struct oracle_state *b, bool exact, bool print)
{
	const uint8_t *i = in->os_xstate, *x = a->os_xstate, *y = b->os_xstate;
	uint64_t flags;
	uint32_t error;
	bool same;
	unsigned n;

	same = word("end", 0, vector(a), vector(b), print);
	/* An emulated CPU reads first what it will write. */
	error = emulated_cpu() ? ~2u : ~0u;
	same &= word("error", 0, a->os_error & error, b->os_error & error,
	    print);
	same &= word("cr2", 0, a->os_cr2, b->os_cr2, print);
	same &= word("rip", in->os_rip, a->os_rip, b->os_rip, print);
	/* At a fault flags that nobody reads again need not be right, nor when
	 * it has become a triple fault. */
	flags = ~0ull;
	if (!exact && (a->os_vector < 32 || (a->os_vector == VECTOR_EXIT &&
	    a->os_error == ENGINE_EXIT_SHUTDOWN)))
		flags = ~(uint64_t)FL_ARITH;
	/* An emulated CPU's faults leave RF alone. */
	if (emulated_cpu())
		flags &= ~(uint64_t)FL_RF;
	same &= word("rflags", in->os_rflags, a->os_rflags & flags,
	    b->os_rflags & flags, print);
	for (n = 0; n < 16; n++)
		same &= word(gpr_name[n], in->os_gpr[n], a->os_gpr[n],
		    b->os_gpr[n], print);
	if (same && memcmp(x, y, XSTATE) == 0)
		return (true);
	same &= bytes("x87 ", 0, i, x, y, 5, print);
	if (x[2] & 0x80 && !emulated_cpu())
		same &= bytes("x87 ", 6, i + 6, x + 6, y + 6, no_pointers &&
		    memcmp(y + 16, "\0\0\0\0\0\0\0", 8) == 0 ? 10 : 18,
		    print);
	same &= bytes("mxcsr ", 0, i + 24, x + 24, y + 24, 4, print);
	for (n = 0; n < 8; n++)
		same &= bytes("st", n, i + 32 + n * 16, x + 32 + n * 16,
		    y + 32 + n * 16, 10, print);
	for (n = 0; n < 16; n++) {
		same &= bytes("xmm", n, i + 160 + n * 16, x + 160 + n * 16,
		    y + 160 + n * 16, 16, print);
		same &= bytes("ymmh", n, i + 576 + n * 16, x + 576 + n * 16,
		    y + 576 + n * 16, 16, print);
	}
	return (same);
}

/* Is the word at gpa the same, or a page table entry whose A and D bits are
 * set on b as well? An instruction that faults may have set those of its other
 * operands. */
static bool
same_word(const struct side *a, const struct side *b, uint32_t gpa)
{
	uint64_t x = get64(a, gpa), y = get64(b, gpa);

	if (x == y)
		return (true);
	if (gpa >= GDT && gpa < TABLES_MORE)
		return (false);
	/* nor has an emulated CPU of what it has read, but not written yet */
	if (emulated_cpu())
		x &= ~(uint64_t)(PTE_A | PTE_D);
	return ((x | (y & (PTE_A | PTE_D))) == y);
}

bool
side_same_memory(const struct side *a, const struct side *b, bool all,
    bool print)
{
	uint32_t from = all ? 0 : DATA_GPA;
	uint32_t len = all ? RAM_SIZE : DATA_SIZE, n;
	unsigned shown = 0;

	if (a->sd_devices != b->sd_devices) {
		if (print)
			printf("#     the device accesses differ\n");
		return (false);
	}
	if (memcmp(a->sd_ram + from, b->sd_ram + from, len) == 0)
		return (true);
	for (n = from; n < from + len && shown < 8; n += 8)
		if (!same_word(a, b, n)) {
			word("", n, get64(a, n), get64(b, n), print);
			shown++;
		}
	return (shown == 0);
}

void
side_disassemble(const uint8_t *code, size_t len, uint64_t addr, bool compat)
{
	ZydisDecoder dec;
	ZydisFormatter fmt;
	ZydisDecodedInstruction zi;
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	char text[160], hex[64];
	size_t n = 0, k, step;

	ZydisDecoderInit(&dec, compat ? ZYDIS_MACHINE_MODE_LONG_COMPAT_32 :
	    ZYDIS_MACHINE_MODE_LONG_64, compat ? ZYDIS_STACK_WIDTH_32 :
	    ZYDIS_STACK_WIDTH_64);
	ZydisFormatterInit(&fmt, ZYDIS_FORMATTER_STYLE_INTEL);
	for (; n < len; n += step) {
		strcpy(text, "?");
		step = 1;
		if (ZYAN_SUCCESS(ZydisDecoderDecodeFull(&dec, code + n, len - n,
		    &zi, ops))) {
			step = zi.length;
			ZydisFormatterFormatInstruction(&fmt, &zi, ops,
			    zi.operand_count_visible, text, sizeof(text),
			    addr + n, NULL);
		}
		for (k = 0; k < step; k++)
			snprintf(hex + k * 2, sizeof(hex) - k * 2, "%02x",
			    code[n + k]);
		printf("#   %8llx  %-30s %s\n", (unsigned long long)(addr + n),
		    hex, text);
	}
}
