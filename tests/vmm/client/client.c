/*
 * A client of vmm(4) as one finds it elsewhere: it knows <machine/vmmvar.h>,
 * open(2) and ioctl(2), and nothing of this monitor. It runs a guest in real
 * mode that prints a line to COM1, echoes what it reads from a port, takes an
 * interrupt, and halts. Prints what the guest prints; status 0 if all went as
 * it should.
 */
#include <machine/vmmvar.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define MEM_SIZE	(2ul << 20)
#define VECTOR		0x40

static const unsigned char guest[] = {
	0xba, 0xf8, 0x03,		/* mov dx, 0x3f8 */
	0xbe, 0x40, 0x7c,		/* mov si, text */
	0xb9, 0x06, 0x00,		/* mov cx, 6 */
	0xfc,				/* cld */
	0xf3, 0x6e,			/* rep outsb */
	0xb8, 0x34, 0x12,		/* mov ax, 0x1234 */
	0xe4, 0x40,			/* in al, 0x40 */
	0xee,				/* out dx, al */
	0x88, 0xe0,			/* mov al, ah */
	0xee,				/* out dx, al */
	0xfb,				/* sti */
	0xf4,				/* hlt */
	0xfa,				/* cli */
	0xf4,				/* hlt: for ever */
};
static const unsigned char handler[] = {	/* at 0000:7d00 */
	0xb0, '!',			/* mov al, '!' */
	0xee,				/* out dx, al */
	0xcf,				/* iret */
};

static struct vm_create_params vcp;
static struct vm_run_params vrp;
static struct vm_exit ve;
static int fd;

static void
reset(void)
{
	struct vm_resetcpu_params rp;
	struct vcpu_reg_state *rs = &rp.vrp_init_state;
	int i;

	memset(&rp, 0, sizeof(rp));
	rp.vrp_vm_id = vcp.vcp_id;
	rs->vrs_gprs[VCPU_REGS_RIP] = 0x7c00;
	rs->vrs_gprs[VCPU_REGS_RSP] = 0x7000;
	rs->vrs_gprs[VCPU_REGS_RFLAGS] = 0x2;
	rs->vrs_crs[VCPU_REGS_CR0] = 0x10;
	for (i = 0; i < VCPU_REGS_NSREGS; i++) {
		rs->vrs_sregs[i].vsi_limit = 0xffff;
		rs->vrs_sregs[i].vsi_ar = 0x93;
	}
	rs->vrs_sregs[VCPU_REGS_CS].vsi_ar = 0x9b;
	rs->vrs_sregs[VCPU_REGS_LDTR].vsi_ar = 0x82;
	rs->vrs_sregs[VCPU_REGS_TR].vsi_ar = 0x8b;
	rs->vrs_idtr.vsi_limit = 0x3ff;
	if (ioctl(fd, VMM_IOC_RESETCPU, &rp) == -1)
		err(1, "RESETCPU");
}

int
main(void)
{
	struct vm_terminate_params vtp;
	unsigned char *mem;
	int halted = 0;

	if ((fd = open("/dev/vmm", O_RDWR)) == -1)
		err(1, "/dev/vmm");
	mem = mmap(NULL, MEM_SIZE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		err(1, "mmap");
	memcpy(mem + 0x7c00, guest, sizeof(guest));
	memcpy(mem + 0x7c40, "hello\n", 6);
	memcpy(mem + 0x7d00, handler, sizeof(handler));
	mem[VECTOR * 4 + 1] = 0x7d;

	vcp.vcp_ncpus = 1;
	vcp.vcp_nmemranges = 1;
	vcp.vcp_memranges[0].vmr_va = (vaddr_t)mem;
	vcp.vcp_memranges[0].vmr_size = MEM_SIZE;
	strcpy(vcp.vcp_name, "client");
	if (ioctl(fd, VMM_IOC_CREATE, &vcp) == -1)
		err(1, "CREATE");
	reset();

	vrp.vrp_vm_id = vcp.vcp_id;
	vrp.vrp_irq = 0xffff;
	vrp.vrp_exit = &ve;
	for (;;) {
		if (ioctl(fd, VMM_IOC_RUN, &vrp) == -1) {
			if (errno == EIO && halted)
				break;	/* with interrupts off, as told */
			err(1, "RUN");
		}
		vrp.vrp_irq = 0xffff;
		vrp.vrp_continue = 1;
		switch (vrp.vrp_exit_reason) {
		case VMX_EXIT_IO:
		case SVM_VMEXIT_IOIO:
			if (ve.vei.vei_dir == VEI_DIR_IN)
				ve.vei.vei_data = '*';
			else if (ve.vei.vei_port == 0x3f8)
				putchar((int)(ve.vei.vei_data & 0xff));
			break;
		case VMX_EXIT_HLT:
		case SVM_VMEXIT_HLT:
			if (halted++ || !vrp.vrp_irqready)
				errx(1, "HLT again, or not ready");
			vrp.vrp_irq = VECTOR;
			break;
		case VM_EXIT_NONE:
		case VMX_EXIT_INT_WINDOW:
			break;
		default:
			errx(1, "exit reason %u", vrp.vrp_exit_reason);
		}
	}
	putchar('\n');
	vtp.vtp_vm_id = vcp.vcp_id;
	if (ioctl(fd, VMM_IOC_TERM, &vtp) == -1)
		err(1, "TERM");
	if (close(fd) == -1)
		err(1, "close");
	return (0);
}
