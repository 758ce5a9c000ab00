/*
 * vmm(4) on a real engine, by small guests in real mode: input and
 * output of all sizes, string instructions, halts, interrupts and their
 * windows, and memory that the client or MPROTECT_EPT protects.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#include "../lib/client.h"
#include "../lib/engine_options.h"

#define FL_IF	0x200
#define MIB	(1ul << 20)
#define CODE	0x7c00
#define NONE	0xffff

static int fd = -1;

static struct vm_create_params vcp;
static struct vm_run_params vrp;
static struct vmm_exit vx;
static uint8_t *mem;

/* Real mode at 0000:7c00, segments based at 0, RSP 0x7000. */
static void
reset(void)
{
	struct vm_resetcpu_params rp;
	struct vcpu_reg_state *rs = &rp.vrp_init_state;
	int i;

	memset(&rp, 0, sizeof(rp));
	rp.vrp_vm_id = vcp.vcp_id;
	rs->vrs_gprs[VCPU_REGS_RIP] = CODE;
	rs->vrs_gprs[VCPU_REGS_RSP] = 0x7000;
	rs->vrs_gprs[VCPU_REGS_RFLAGS] = 2;
	rs->vrs_crs[VCPU_REGS_CR0] = 0x10;
	for (i = 0; i < VCPU_REGS_NSREGS; i++) {
		rs->vrs_sregs[i].vsi_limit = 0xffff;
		rs->vrs_sregs[i].vsi_ar = 0x93;
	}
	rs->vrs_sregs[VCPU_REGS_CS].vsi_ar = 0x9b;
	rs->vrs_sregs[VCPU_REGS_LDTR].vsi_ar = 0x82;
	rs->vrs_sregs[VCPU_REGS_TR].vsi_ar = 0x8b;
	rs->vrs_idtr.vsi_limit = 0x3ff;
	assert_int_equal(client_do(fd, VMM_IOC_RESETCPU, &rp), 0);
}

static void
begin(uint32_t caps, const uint8_t *code, size_t len)
{
	client_params(&vcp, 2, "soft");
	mem = (uint8_t *)vcp.vcp_memranges[0].vmr_va;
	memcpy(mem + CODE, code, len);
	client_create(fd, &vcp, caps);
	reset();
	memset(&vx, 0, sizeof(vx));
}

#define BEGIN(caps, ...)						\
	begin((caps), (const uint8_t []){ __VA_ARGS__ },		\
	    sizeof((const uint8_t []){ __VA_ARGS__ }))

static void
end(void)
{
	client_end(fd, &vcp);
}

static int
run(unsigned irq, bool answer)
{
	memset(&vrp, 0, sizeof(vrp));
	vrp.vrp_vm_id = vcp.vcp_id;
	vrp.vrp_irq = (uint16_t)irq;
	vrp.vrp_continue = answer;
	vrp.vrp_exit = &vx.vx_exit;
	return (client_do(fd, VMM_IOC_RUN, &vrp));
}

static uint64_t
gpr(unsigned reg)
{
	return (vx.vx_exit.vrs.vrs_gprs[reg]);
}

static void
expect_io(unsigned dir, unsigned port, unsigned size, uint32_t data,
    uint64_t rip)
{
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_IO);
	assert_int_equal(vx.vx_exit.vei.vei_dir, dir);
	assert_int_equal(vx.vx_exit.vei.vei_port, port);
	assert_int_equal(vx.vx_exit.vei.vei_size, size);
	if (dir == VEI_DIR_OUT)
		assert_int_equal(vx.vx_exit.vei.vei_data, data);
	assert_int_equal(gpr(VCPU_REGS_RIP), rip);
}

/* --- input and output ---------------------------------------------------- */

static void
test_out_sizes(void **state)
{
	(void)state;
	BEGIN(0,
	    0x66, 0xb8, 0x78, 0x56, 0x34, 0x12,	/* mov eax, 0x12345678 */
	    0xe6, 0x20,				/* out 0x20, al */
	    0xba, 0xf8, 0x0c,			/* mov dx, 0xcf8 */
	    0xef,				/* out dx, ax */
	    0x66, 0xef);			/* out dx, eax */
	assert_int_equal(run(NONE, false), 0);
	expect_io(VEI_DIR_OUT, 0x20, 1, 0x78, CODE + 8);
	assert_int_equal(vx.vx_exit.vei.vei_encoding, 1);
	assert_int_equal(vx.vx_exit.vei.vei_rep, 0);
	assert_int_equal(vx.vx_exit.vei.vei_string, 0);
	assert_int_equal(vx.vx_exit.cpl, 0);
	assert_int_equal(run(NONE, true), 0);
	expect_io(VEI_DIR_OUT, 0xcf8, 2, 0x5678, CODE + 12);
	assert_int_equal(vx.vx_exit.vei.vei_encoding, 0);
	assert_int_equal(run(NONE, true), 0);
	expect_io(VEI_DIR_OUT, 0xcf8, 4, 0x12345678, CODE + 14);
	end();
}

/* 8- and 16-bit input keeps the rest of RAX, 32-bit input clears its top. */
static void
test_in_sizes(void **state)
{
	struct vm_rwregs_params regs = { 0 };

	(void)state;
	BEGIN(0,
	    0xe4, 0x40,				/* in al, 0x40 */
	    0xe5, 0x40,				/* in ax, 0x40 */
	    0x66, 0xe5, 0x40,			/* in eax, 0x40 */
	    0xe4, 0x80,				/* in al, 0x80: nobody there */
	    0xe4, 0x40,				/* in al, 0x40 */
	    0xe6, 0x20);
	regs.vrwp_vm_id = vcp.vcp_id;
	regs.vrwp_mask = VM_RWREGS_GPRS;
	assert_int_equal(client_do(fd, VMM_IOC_READREGS, &regs), 0);
	regs.vrwp_regs.vrs_gprs[VCPU_REGS_RAX] = 0x1111222233334444;
	assert_int_equal(client_do(fd, VMM_IOC_WRITEREGS, &regs), 0);
	assert_int_equal(run(NONE, false), 0);
	expect_io(VEI_DIR_IN, 0x40, 1, 0, CODE + 2);
	vx.vx_exit.vei.vei_data = 0xaabbccdd;
	assert_int_equal(run(NONE, true), 0);
	assert_int_equal(gpr(VCPU_REGS_RAX), 0x11112222333344dd);
	expect_io(VEI_DIR_IN, 0x40, 2, 0, CODE + 4);
	vx.vx_exit.vei.vei_data = 0xaabbccee;
	assert_int_equal(run(NONE, true), 0);
	assert_int_equal(gpr(VCPU_REGS_RAX), 0x111122223333ccee);
	expect_io(VEI_DIR_IN, 0x40, 4, 0, CODE + 7);
	vx.vx_exit.vei.vei_data = 0x99887766;
	assert_int_equal(run(NONE, true), 0);
	/* The read of port 0x80 went by: all ones. */
	assert_int_equal(gpr(VCPU_REGS_RAX), 0x998877ff);
	expect_io(VEI_DIR_IN, 0x40, 1, 0, CODE + 11);
	/* Without vrp_continue nothing comes in. */
	vx.vx_exit.vei.vei_data = 0;
	assert_int_equal(run(NONE, false), 0);
	expect_io(VEI_DIR_OUT, 0x20, 1, 0xff, CODE + 13);
	end();
}

static void
test_outs(void **state)
{
	static const char text[] = "abc";
	unsigned i;

	(void)state;
	BEGIN(0,
	    0xfc,				/* cld */
	    0xba, 0xf8, 0x03,			/* mov dx, 0x3f8 */
	    0xbe, 0x00, 0x10,			/* mov si, 0x1000 */
	    0xb9, 0x03, 0x00,			/* mov cx, 3 */
	    0xf3, 0x6e,				/* rep outsb */
	    0x6f,				/* outsw */
	    0xe6, 0x21);
	memcpy(mem + 0x1000, "abcXY", 5);
	for (i = 0; i < 3; i++) {
		assert_int_equal(run(NONE, true), 0);
		assert_int_equal(vx.vx_exit.vei.vei_rep, 1);
		assert_int_equal(vx.vx_exit.vei.vei_string, 1);
		/* RIP stays on the instruction until the last element. */
		expect_io(VEI_DIR_OUT, 0x3f8, 1, (uint32_t)text[i],
		    i < 2 ? CODE + 10 : CODE + 12);
		assert_int_equal(gpr(VCPU_REGS_RCX), 2 - i);
		assert_int_equal(gpr(VCPU_REGS_RSI), 0x1001 + i);
	}
	assert_int_equal(run(NONE, true), 0);
	expect_io(VEI_DIR_OUT, 0x3f8, 2, 'X' | 'Y' << 8, CODE + 13);
	assert_int_equal(vx.vx_exit.vei.vei_rep, 0);
	assert_int_equal(vx.vx_exit.vei.vei_string, 1);
	assert_int_equal(run(NONE, true), 0);
	expect_io(VEI_DIR_OUT, 0x21, 1, 0, CODE + 15);
	end();
}

static void
test_ins(void **state)
{
	unsigned i;

	(void)state;
	BEGIN(0,
	    0xfc,				/* cld */
	    0xba, 0x00, 0x10,			/* mov dx, 0x1000 */
	    0xbf, 0xfe, 0x1f,			/* mov di, 0x1ffe */
	    0xb9, 0x03, 0x00,			/* mov cx, 3 */
	    0xf3, 0x66, 0x6d,			/* rep insd, across a page */
	    0xe6, 0x21);
	for (i = 0; i < 3; i++) {
		assert_int_equal(run(NONE, true), 0);
		assert_int_equal(vx.vx_exit.vei.vei_rep, 1);
		assert_int_equal(vx.vx_exit.vei.vei_string, 1);
		expect_io(VEI_DIR_IN, 0x1000, 4, 0,
		    i < 2 ? CODE + 10 : CODE + 13);
		vx.vx_exit.vei.vei_data = 0x01020304 * (i + 1);
	}
	assert_int_equal(run(NONE, true), 0);
	expect_io(VEI_DIR_OUT, 0x21, 1, 0, CODE + 15);
	assert_int_equal(gpr(VCPU_REGS_RDI), 0x1ffe + 12);
	assert_int_equal(gpr(VCPU_REGS_RAX), 0);
	assert_memory_equal(mem + 0x1ffe,
	    "\4\3\2\1\10\6\4\2\14\11\6\3", 12);
	end();
}

/* --- halts and interrupts ------------------------------------------------ */

static void
test_hlt(void **state)
{
	(void)state;
	BEGIN(0, 0xfb, 0xf4, 0xfa, 0xf4);	/* sti; hlt; cli; hlt */
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_HLT);
	assert_int_equal(vrp.vrp_irqready, 1);
	assert_int_equal(gpr(VCPU_REGS_RIP), CODE + 2);
	assert_int_equal(run(NONE, false), EIO);
	assert_int_equal(run(NONE, false), EBUSY);
	end();
}

static void
test_triple_fault(void **state)
{
	struct vm_rwregs_params regs = { 0 };

	(void)state;
	BEGIN(0, 0xcc);				/* int3, without an IDT */
	regs.vrwp_vm_id = vcp.vcp_id;
	regs.vrwp_mask = VM_RWREGS_SREGS;
	assert_int_equal(client_do(fd, VMM_IOC_READREGS, &regs), 0);
	regs.vrwp_regs.vrs_idtr.vsi_limit = 0;
	assert_int_equal(client_do(fd, VMM_IOC_WRITEREGS, &regs), 0);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_TRIPLE_FAULT);
	end();
}

static void
intr(int level)
{
	struct vm_intr_params vip = { vcp.vcp_id, 0, (uint16_t)level };

	assert_int_equal(client_do(fd, VMM_IOC_INTR, &vip), 0);
}

static void
test_interrupts(void **state)
{
	(void)state;
	BEGIN(0,
	    0xe6, 0x20,				/* out 0x20, al */
	    0xfb,				/* sti */
	    0x90,				/* nop, in STI's shadow */
	    0xe6, 0x21,				/* out 0x21, al */
	    0xeb, 0xfe);			/* jmp . */
	/* Vector 0x40: out 0xa0, al; iret */
	memcpy(mem + 0x3000, "\xe6\xa0\xcf", 3);
	mem[0x40 * 4 + 1] = 0x30;
	assert_int_equal(run(NONE, false), 0);
	expect_io(VEI_DIR_OUT, 0x20, 1, 0, CODE + 2);
	assert_int_equal(vrp.vrp_irqready, 0);
	/* The window opens behind STI's shadow. */
	intr(1);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_INT_WINDOW);
	assert_int_equal(vrp.vrp_irqready, 1);
	assert_int_equal(gpr(VCPU_REGS_RIP), CODE + 4);
	intr(0);
	assert_int_equal(run(0x40, false), 0);
	expect_io(VEI_DIR_OUT, 0xa0, 1, 0, 0x3002);
	assert_int_equal(vrp.vrp_irqready, 0);
	assert_int_equal(gpr(VCPU_REGS_RFLAGS) & FL_IF, 0);
	assert_int_equal(gpr(VCPU_REGS_RSP), 0x7000 - 6);
	assert_int_equal(run(NONE, false), 0);
	expect_io(VEI_DIR_OUT, 0x21, 1, 0, CODE + 6);
	assert_int_equal(gpr(VCPU_REGS_RSP), 0x7000);
	end();
}

static void *
intr_main(void *arg)
{
	(void)arg;
	client_sleep_ms(20);
	intr(1);
	return (NULL);
}

/* INTR and a signal get at a guest that never exits. */
static void
test_endless_guest(void **state)
{
	struct sigaction sa = { .sa_handler = SIG_IGN }, old;
	const struct itimerval it = { { 0, 20000 }, { 0, 20000 } }, no = { 0 };
	pthread_t thread;

	(void)state;
	BEGIN(0, 0xfb, 0xeb, 0xfe);		/* sti; jmp . */
	assert_int_equal(pthread_create(&thread, NULL, intr_main, NULL), 0);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_INT_WINDOW);
	assert_int_equal(vrp.vrp_irqready, 1);
	pthread_join(thread, NULL);
	intr(0);
	sigaction(SIGALRM, &sa, &old);
	setitimer(ITIMER_REAL, &it, NULL);
	assert_int_equal(run(NONE, false), 0);
	assert_int_equal(vrp.vrp_exit_reason, VM_EXIT_NONE);
	setitimer(ITIMER_REAL, &no, NULL);
	sigaction(SIGALRM, &old, NULL);
	end();
}

/* --- protection ---------------------------------------------------------- */

static void
expect_protect(uint64_t rip)
{
	assert_int_equal(vrp.vrp_exit_reason, VMX_EXIT_EPT_VIOLATION);
	assert_int_equal(vx.vx_exit.vee.vee_fault_type, VEE_FAULT_PROTECT);
	assert_int_equal(gpr(VCPU_REGS_RIP), rip);
}

static const uint8_t touching[] = {
	0xa0, 0x00, 0x20,			/* mov al, [0x2000] */
	0xe6, 0x20,				/* out 0x20, al */
	0xa2, 0x01, 0x20,			/* mov [0x2001], al */
	0xe6, 0x21,				/* out 0x21, al */
	0xff, 0x06, 0x02, 0x20,			/* inc word [0x2002] */
	0xe6, 0xa0,				/* out 0xa0, al */
	0xe9, (0x2100 - (CODE + 19)) & 0xff,	/* jmp 0x2100 */
	(0x2100 - (CODE + 19)) >> 8 & 0xff,
};

/* Either of the two ways to protect the page at 0x2000. */
static void
protect_mmap(int prot)
{
	assert_int_equal(mprotect(mem + 0x2000, 4096, prot), 0);
}

static void
protect_ept(int prot)
{
	struct vm_mprotect_ept_params vmep = { 0 };

	vmep.vmep_vm_id = vcp.vcp_id;
	vmep.vmep_sgpa = 0x2000;
	vmep.vmep_size = 4096;
	vmep.vmep_prot = prot;
	assert_int_equal(client_do(fd, VMM_IOC_MPROTECT_EPT, &vmep), 0);
}

static void
touch(void (*protect)(int), int none, bool exec)
{
	const int rw = PROT_READ | PROT_WRITE | (exec ? PROT_EXEC : 0);

	begin(0, touching, sizeof(touching));
	mem[0x2000] = 0x5a;
	memcpy(mem + 0x2100, "\xe6\xa1", 2);	/* out 0xa1, al */
	/* Nothing allowed: the read. */
	if (none != -1) {
		protect(none);
		assert_int_equal(run(NONE, false), 0);
		expect_protect(CODE);
		/* Still so. */
		assert_int_equal(run(NONE, false), 0);
		expect_protect(CODE);
	}
	protect(PROT_READ);
	assert_int_equal(run(NONE, false), 0);
	expect_io(VEI_DIR_OUT, 0x20, 1, 0x5a, CODE + 5);
	/* Read only: the write, and read-modify-write. */
	assert_int_equal(run(NONE, false), 0);
	expect_protect(CODE + 5);
	assert_int_equal(mem[0x2001], 0);
	protect(rw);
	assert_int_equal(run(NONE, false), 0);
	expect_io(VEI_DIR_OUT, 0x21, 1, 0x5a, CODE + 10);
	assert_int_equal(mem[0x2001], 0x5a);
	protect(PROT_READ);
	assert_int_equal(run(NONE, false), 0);
	expect_protect(CODE + 10);
	assert_int_equal(mem[0x2002], 0);
	protect(rw);
	assert_int_equal(run(NONE, false), 0);
	expect_io(VEI_DIR_OUT, 0xa0, 1, 0x5a, CODE + 16);
	assert_int_equal(mem[0x2002], 1);
	if (exec) {
		/* No execution. */
		protect(PROT_READ | PROT_WRITE);
		assert_int_equal(run(NONE, false), 0);
		expect_protect(0x2100);
		protect(rw);
	}
	assert_int_equal(run(NONE, false), 0);
	expect_io(VEI_DIR_OUT, 0xa1, 1, 0x5a, 0x2102);
	end();
}

static void
test_mprotect(void **state)
{
	(void)state;
	touch(protect_mmap, PROT_NONE, false);
}

static void
test_mprotect_ept(void **state)
{
	(void)state;
	touch(protect_ept, PROT_EXEC, true);
	touch(protect_ept, -1, true);
}

/* The client takes its memory away, in front of the guest and behind it. */
static void
test_unmap(void **state)
{
	(void)state;
	begin(0, touching, sizeof(touching));
	munmap(mem + 0x2000, 4096);
	assert_int_equal(run(NONE, false), 0);
	expect_protect(CODE);
	/* Code, too, also when it has run before. */
	munmap(mem + CODE / 4096 * 4096, 4096);
	assert_int_equal(run(NONE, false), 0);
	expect_protect(CODE);
	assert_true(mmap(mem + CODE / 4096 * 4096, 4096,
	    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
	    -1, 0) != MAP_FAILED);
	assert_true(mmap(mem + 0x2000, 4096, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != MAP_FAILED);
	/* What is there now is what runs. */
	memcpy(mem + CODE, "\xe6\x21", 2);
	assert_int_equal(run(NONE, false), 0);
	expect_io(VEI_DIR_OUT, 0x21, 1, 0, CODE + 2);
	end();
}

/* The client writes code that the guest has run. */
static void
test_client_writes_code(void **state)
{
	struct vmm_written_params vwr;
	int reported;

	(void)state;
	for (reported = 0; reported < 2; reported++) {
		BEGIN(reported ? VMM_CAP_WRITTEN : 0,
		    0xb0, 0x01,			/* mov al, 1 */
		    0xe6, 0x20,			/* out 0x20, al */
		    0xeb, 0xfa);		/* jmp to the start */
		assert_int_equal(run(NONE, false), 0);
		expect_io(VEI_DIR_OUT, 0x20, 1, 1, CODE + 4);
		assert_int_equal(run(NONE, false), 0);
		expect_io(VEI_DIR_OUT, 0x20, 1, 1, CODE + 4);
		mem[CODE + 1] = 2;
		vwr.vwr_vm_id = vcp.vcp_id;
		vwr.vwr_gpa = CODE + 1;
		vwr.vwr_size = 1;
		if (reported)
			assert_int_equal(client_do(fd, VMM_IOC_WRITTEN, &vwr),
			    0);
		assert_int_equal(run(NONE, false), 0);
		expect_io(VEI_DIR_OUT, 0x20, 1, 2, CODE + 4);
		end();
	}
}

/* How many of this process's descriptors are of the memfd "share". */
static unsigned
shares(void)
{
	char path[64], text[64];
	unsigned n = 0;
	ssize_t len;
	int i;

	for (i = 0; i < 256; i++) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", i);
		len = readlink(path, text, sizeof(text) - 1);
		text[len < 0 ? 0 : len] = '\0';
		n += strncmp(text, "/memfd:share", 12) == 0;
	}
	return (n);
}

/*
 * Memory that is two parts of a file, one of them at two addresses: the guest
 * sees what it sees otherwise, and the descriptor that the engine keeps for
 * each range is its own and ends with the VM.
 */
static void
test_share(void **state)
{
	static const struct {
		uint64_t gpa, at;
	} part[] = { { 0, 0 }, { MIB, MIB }, { 4 * MIB, MIB } };
	static const uint8_t code[] = {
		0xb8, 0xff, 0xff, 0x8e, 0xd8,	/* mov ax, 0xffff; mov ds, ax */
		0x80, 0x06, 0x10, 0x00, 0x07,	/* add byte [0x10], 7: 1 MiB */
		0xe6, 0x20			/* out 0x20, al */
	};
	struct vmm_share_params vsh;
	struct vm_terminate_params vtp;
	/* an engine without use for them keeps none */
	const unsigned kept = engine_tested()->eo_share != NULL ? 3 : 0;
	unsigned i;
	int file, twice;

	(void)state;
	assert_true((file = memfd_create("share", 0)) >= 0);
	assert_int_equal(ftruncate(file, 2 * MIB), 0);
	mem = mmap(NULL, 2 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	assert_true(mem != MAP_FAILED);
	memcpy(mem + CODE, code, sizeof(code));
	mem[MIB] = 1;
	memset(&vcp, 0, sizeof(vcp));
	vcp.vcp_ncpus = 1;
	vcp.vcp_nmemranges = 3;
	for (i = 0; i < 3; i++)
		vcp.vcp_memranges[i] = (struct vm_mem_range){
			.vmr_gpa = part[i].gpa, .vmr_size = MIB,
			.vmr_va = (vaddr_t)mem + part[i].at };
	strcpy(vcp.vcp_name, "share");
	client_create(fd, &vcp, 0);
	reset();
	for (twice = 0; twice < 2; twice++) {
		for (i = 0; i < 2; i++) {
			vsh = (struct vmm_share_params){ vcp.vcp_id, file,
				part[i].at, (vaddr_t)mem + part[i].at, MIB };
			assert_int_equal(client_do(fd, VMM_IOC_SHARE, &vsh),
			    0);
		}
		assert_int_equal(shares(), 1 + kept);
	}
	close(file);
	assert_int_equal(shares(), kept);
	assert_int_equal(run(NONE, false), 0);
	expect_io(VEI_DIR_OUT, 0x20, 1, 0xff, CODE + sizeof(code));
	assert_int_equal(mem[MIB], 8);
	assert_int_equal(client_do(fd, VMM_IOC_SHARE, &vsh), EBUSY);
	vtp.vtp_vm_id = vcp.vcp_id;
	assert_int_equal(client_do(fd, VMM_IOC_TERM, &vtp), 0);
	assert_int_equal(shares(), 0);
	munmap(mem, 2 * MIB);
}

#define HUGE		(2 * MIB)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

/*
 * The guest's first store to 2 MiB of a shared range makes them a huge page,
 * as it would with anonymous memory; again when the client took them back. A
 * file's size on the host tells.
 */
static void
test_huge(void **state)
{
	static const uint8_t code[] = {
		0xc6, 0x06, 0x00, 0x30, 0x01,	/* mov byte [0x3000], 1 */
		0xe6, 0x20,			/* out 0x20, al */
	};
	struct vmm_share_params vsh;
	struct vm_terminate_params vtp;
	struct stat st;
	uint8_t *area;
	int file, i;

	(void)state;
	if (engine_tested()->eo_share == NULL)
		skip();		/* the engine has nothing to do with it */
	assert_true((file = memfd_create("share", 0)) >= 0);
	assert_int_equal(ftruncate(file, 2 * HUGE), 0);
	area = mmap(NULL, 3 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
	    0);
	assert_ptr_not_equal(area, MAP_FAILED);
	mem = area + (-(uintptr_t)area & (HUGE - 1));
	assert_ptr_equal(mmap(mem, 2 * HUGE, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_FIXED, file, 0), mem);
	mem[0] = 1;
	if (madvise(mem, HUGE, MADV_COLLAPSE) == -1) {
		munmap(area, 3 * HUGE);
		close(file);
		skip();		/* the host has no huge pages for files */
	}
	memset(&vcp, 0, sizeof(vcp));
	vcp.vcp_ncpus = 1;
	vcp.vcp_nmemranges = 1;
	vcp.vcp_memranges[0] = (struct vm_mem_range){
		.vmr_size = 2 * HUGE, .vmr_va = (vaddr_t)mem };
	strcpy(vcp.vcp_name, "huge");
	client_create(fd, &vcp, 0);
	vsh = (struct vmm_share_params){ vcp.vcp_id, file, 0, (vaddr_t)mem,
		2 * HUGE };
	assert_int_equal(client_do(fd, VMM_IOC_SHARE, &vsh), 0);
	for (i = 0; i < 2; i++) {
		assert_int_equal(madvise(mem, 2 * HUGE, MADV_REMOVE), 0);
		memcpy(mem + CODE, code, sizeof(code));
		assert_int_equal(fstat(file, &st), 0);
		assert_true((uint64_t)st.st_blocks * 512 < HUGE);
		reset();
		assert_int_equal(run(NONE, false), 0);
		expect_io(VEI_DIR_OUT, 0x20, 1, 0, CODE + sizeof(code));
		assert_int_equal(mem[0x3000], 1);
		assert_memory_equal(mem + CODE, code, sizeof(code));
		assert_int_equal(fstat(file, &st), 0);
		assert_int_equal((uint64_t)st.st_blocks * 512, HUGE);
	}
	vtp.vtp_vm_id = vcp.vcp_id;
	assert_int_equal(client_do(fd, VMM_IOC_TERM, &vtp), 0);
	munmap(area, 3 * HUGE);
	close(file);
}

/* --- memory that is not there -------------------------------------------- */

static void
test_mmio(void **state)
{
	/* mov ax, 0xf000; mov ds, ax; mov eax, [0xff00]; mov [0xff08], ax;
	 * out 0x20, al: the first MiB has a hole from 0xf0000 */
	static const uint8_t code[] = {
		0xb8, 0x00, 0xf0, 0x8e, 0xd8, 0x66, 0xa1, 0x00, 0xff,
		0xa3, 0x08, 0xff, 0xe6, 0x20
	};
	struct vmm_stats_params vst = { 0 };
	int caps;

	(void)state;
	for (caps = 0; caps < 2; caps++) {
		struct vmm_enable_params ven;

		client_params(&vcp, 2, "hole");
		mem = (uint8_t *)vcp.vcp_memranges[0].vmr_va;
		vcp.vcp_memranges[0].vmr_size = 0xf0000;
		vcp.vcp_memranges[1] = (struct vm_mem_range){
			.vmr_gpa = MIB, .vmr_size = 0x10000,
			.vmr_va = (vaddr_t)mem + MIB,
		};
		vcp.vcp_nmemranges = 2;
		memcpy(mem + CODE, code, sizeof(code));
		assert_int_equal(client_do(fd, VMM_IOC_CREATE, &vcp), 0);
		ven.ven_vm_id = vcp.vcp_id;
		ven.ven_caps = VMM_CAP_MMIO;
		if (caps)
			assert_int_equal(client_do(fd, VMM_IOC_ENABLE, &ven),
			    0);
		reset();
		if (!caps) {
			assert_int_equal(run(NONE, false), EINVAL);
			assert_int_equal(run(NONE, false), EINVAL);
		} else {
			assert_int_equal(run(NONE, false), 0);
			assert_int_equal(vrp.vrp_exit_reason,
			    VMX_EXIT_EPT_VIOLATION);
			assert_int_equal(vx.vx_exit.vee.vee_fault_type,
			    VEE_FAULT_MMIO);
			assert_int_equal(vx.vx_mmio_gpa, 0xfff00);
			assert_int_equal(vx.vx_mmio_size, 4);
			assert_int_equal(vx.vx_mmio_dir, VEI_DIR_IN);
			assert_int_equal(gpr(VCPU_REGS_RIP), CODE + 5);
			vx.vx_mmio_data = 0xdeadbeef;
			assert_int_equal(run(NONE, true), 0);
			assert_int_equal(vx.vx_mmio_gpa, 0xfff08);
			assert_int_equal(vx.vx_mmio_size, 2);
			assert_int_equal(vx.vx_mmio_dir, VEI_DIR_OUT);
			assert_int_equal(vx.vx_mmio_data, 0xbeef);
			assert_int_equal(gpr(VCPU_REGS_RAX), 0xdeadbeef);
			assert_int_equal(run(NONE, true), 0);
			expect_io(VEI_DIR_OUT, 0x20, 1, 0xef, CODE + 14);
			vst.vst_vm_id = vcp.vcp_id;
			assert_int_equal(client_do(fd, VMM_IOC_STATS, &vst),
			    0);
			if (engine_tested()->eo_insns != NULL)
				assert_int_equal(vst.vst_insns, 5);
			assert_int_equal(vst.vst_exits, 3);
		}
		vcp.vcp_memranges[0].vmr_size = 2 * MIB;
		end();
	}
}

/* --- states that the CPU refuses ----------------------------------------- */

static void
test_refused(void **state)
{
	struct vm_resetcpu_params rp = { 0 };
	struct vm_rwregs_params regs = { 0 };

	(void)state;
	BEGIN(0, 0x90);
	rp.vrp_vm_id = regs.vrwp_vm_id = vcp.vcp_id;
	/* Paging without protection. */
	rp.vrp_init_state.vrs_crs[VCPU_REGS_CR0] = 0x80000010;
	assert_int_equal(client_do(fd, VMM_IOC_RESETCPU, &rp), EIO);
	regs.vrwp_mask = VM_RWREGS_CRS;
	assert_int_equal(client_do(fd, VMM_IOC_READREGS, &regs), 0);
	regs.vrwp_regs.vrs_crs[VCPU_REGS_CR4] = 1ul << 63;
	assert_int_equal(client_do(fd, VMM_IOC_WRITEREGS, &regs), EINVAL);
	/* Nothing has changed. */
	assert_int_equal(client_do(fd, VMM_IOC_READREGS, &regs), 0);
	assert_int_equal(regs.vrwp_regs.vrs_crs[VCPU_REGS_CR4], 0);
	assert_int_equal(regs.vrwp_regs.vrs_crs[VCPU_REGS_CR0], 0x10);
	end();
}

static int
setup(void **state)
{
	(void)state;
	setenv("VMM_ENGINE", engine_tested()->eo_name, 1);
	fd = vmm_open();
	return (fd == -1);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_out_sizes),
		cmocka_unit_test(test_in_sizes),
		cmocka_unit_test(test_outs),
		cmocka_unit_test(test_ins),
		cmocka_unit_test(test_hlt),
		cmocka_unit_test(test_triple_fault),
		cmocka_unit_test(test_interrupts),
		cmocka_unit_test(test_endless_guest),
		cmocka_unit_test(test_mprotect),
		cmocka_unit_test(test_mprotect_ept),
		cmocka_unit_test(test_unmap),
		cmocka_unit_test(test_client_writes_code),
		cmocka_unit_test(test_share),
		cmocka_unit_test(test_huge),
		cmocka_unit_test(test_mmio),
		cmocka_unit_test(test_refused),
	};

	return (cmocka_run_group_tests(tests, setup, NULL));
}
