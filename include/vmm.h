/*
 * libvmm: OpenBSD's vmm(4) as a library, and what is ours beyond it.
 *
 * vmm_open(), vmm_ioctl() and vmm_close() stand for open(2) of /dev/vmm,
 * ioctl(2) and close(2). The eleven commands are those of <machine/vmmvar.h>;
 * the commands below extend them in the same style. A client that uses none of
 * them gets OpenBSD 6.9's machine.
 *
 * All functions are thread-safe. The VMs belong to the process that creates
 * them and end with it.
 */
#ifndef VMM_H
#define VMM_H

#include <machine/vmmvar.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Opens the monitor: a descriptor (a real one, close-on-exec, that vmm_close()
 * ends), or -1 and errno; ENODEV when no engine works here.
 */
int	vmm_open(void);
/*
 * Performs a VMM_IOC_* command; 0, or -1 and errno. The structure of an _IOWR
 * command is written back only on success. EBADF for other descriptors.
 */
int	vmm_ioctl(int fd, unsigned long cmd, void *params);
int	vmm_close(int fd);

/*
 * VMM_IOC_ENGINE: which engine the VMs created next through this descriptor
 * use: "auto", "soft", with options after a comma ("soft,interp"). In: ve_name.
 * Out: ve_name is the engine's own name. The environment variable VMM_ENGINE
 * gives the default. EINVAL: unknown; ENODEV: does not work here; ve_why
 * says why (written back in spite of the error).
 */
struct vmm_engine_params {
	char		ve_name[64];
	char		ve_why[192];
};

/*
 * VMM_IOC_ENGINEINFO: what there is to say about the engine of that index, in
 * the order in which "auto" tries them. ENOENT: there is none.
 */
struct vmm_engineinfo_params {
	uint32_t	vng_index;	/* in */
	uint32_t	vng_works;	/* on this host; else vng_why says why */
	char		vng_name[16];
	char		vng_why[192];
	char		vng_text[1024];	/* for people: lines of "name: value" */
};

/*
 * VMM_IOC_ENABLE: switches extensions on for a VM, before its first RUN. EBUSY
 * after it, EINVAL for unknown bits.
 */
struct vmm_enable_params {
	uint32_t	ven_vm_id;
	uint32_t	ven_caps;
};
/* Every port leaves RUN, not only 6.9's list. */
#define VMM_CAP_ALL_PORTS	0x00000001
/* *vrp_exit is a struct vmm_exit; accesses outside guest memory leave RUN with
 * VMX_EXIT_EPT_VIOLATION and vee_fault_type VEE_FAULT_MMIO (see below). */
#define VMM_CAP_MMIO		0x00000002
/*
 * A local APIC for each VCPU and one IOAPIC, at their usual addresses. HLT
 * then waits inside RUN until there is something to do (with IF clear and
 * nothing that could ever wake the VCPU, RUN returns VMX_EXIT_HLT with IF
 * clear in the registers, and may be called again). vrp_irq and INTR are the
 * 8259's INTR pin on VCPU 0's LINT0; vrp_irqready says that an ExtINT would be
 * taken. RESETCPU leaves APICs and MTRRs as a PC's firmware does: LINT0 of VCPU
 * 0 is ExtINT, its LINT1 NMI, memory is write-back; that of VCPU 0 resets the
 * IOAPIC.
 */
#define VMM_CAP_APIC		0x00000004
/* The client reports its writes to guest memory with VMM_IOC_WRITTEN. Code
 * that the guest ran before is then not checked again after each RUN. */
#define VMM_CAP_WRITTEN		0x00000008
/* Exits carry no registers (vrs is left alone, cpl is 0): READREGS when
 * needed. */
#define VMM_CAP_NOREGS		0x00000010
/* Unknown MSRs read as zero and drop writes instead of raising #GP. */
#define VMM_CAP_IGNORE_MSRS	0x00000020
/*
 * The client promises, until the VM has ended or TERM has returned, that this
 * descriptor stays open; that no asynchronous signal's handler comes to call
 * the monitor from inside a command, and signals that are to end a RUN use
 * KICK instead; that no thread is cancelled inside a command; and that SIGSEGV,
 * SIGBUS, SIGFPE and SIGILL are not blocked and their handlers left alone.
 * Commands through the descriptor then need no system calls to be sure of that.
 */
#define VMM_CAP_PROMISE		0x00000040

#define VEE_FAULT_MMIO		0x80

struct vmm_exit {
	struct vm_exit	vx_exit;
	/* VEE_FAULT_MMIO. A read is answered by vx_mmio_data with vrp_continue
	 * set in the next RUN; RIP is on the instruction until then. For
	 * VEE_FAULT_PROTECT, vx_mmio_gpa alone is set, to ~0 if the host cannot
	 * tell (KVM before Linux 6.8). */
	uint64_t	vx_mmio_gpa;
	uint64_t	vx_mmio_data;
	uint8_t		vx_mmio_size;	/* 1, 2, 4, 8 */
	uint8_t		vx_mmio_dir;	/* VEI_DIR_OUT, VEI_DIR_IN */
	uint8_t		vx_reserved[6];
};

/* VMM_IOC_IRQLINE: the level of an IOAPIC input (0..23). Needs VMM_CAP_APIC. */
struct vmm_irqline_params {
	uint32_t	vil_vm_id;
	uint32_t	vil_line;
	uint32_t	vil_level;	/* 0 or 1, asserted = 1 */
};

/*
 * VMM_IOC_IRQSTATE: what became of the last edge at an IOAPIC input, for a
 * timer that owes the guest several: another edge is lost while one waits.
 */
struct vmm_irqstate_params {
	uint32_t	vis_vm_id;
	uint32_t	vis_line;
	uint32_t	vis_state;	/* out: VMM_IRQ_* */
};
#define VMM_IRQ_CLOSED		0	/* masked, or not of a vector */
#define VMM_IRQ_TAKEN		1	/* no VCPU has it waiting */
#define VMM_IRQ_WAITING		2

/* VMM_IOC_WRITTEN: the client wrote guest memory [gpa, gpa + size). */
struct vmm_written_params {
	uint32_t	vwr_vm_id;
	paddr_t		vwr_gpa;
	size_t		vwr_size;
};

/*
 * VMM_IOC_SHARE: one of the VM's memory ranges, whole, is a MAP_SHARED mapping
 * of a file from vsh_offset on. The descriptor is duplicated. An engine may
 * then map that memory in a process of its own to run the guest's unprivileged
 * code there, which makes such a process a child of the client (without a
 * signal at its end): the client does not wait(2) for children of any kind,
 * neither with __WALL or __WCLONE nor as a tracer of any. Before the VM's first
 * RUN, else EBUSY; EINVAL: no such range, or an offset within a page.
 */
struct vmm_share_params {
	uint32_t	vsh_vm_id;
	int		vsh_fd;
	uint64_t	vsh_offset;
	vaddr_t		vsh_va;
	size_t		vsh_size;
};

/*
 * VMM_IOC_KICK: makes the VCPU's RUN return VM_EXIT_NONE soon, or the next one
 * at once if none is under way.
 */
struct vmm_kick_params {
	uint32_t	vk_vm_id;
	uint32_t	vk_vcpu_id;
};

/*
 * VMM_IOC_PAUSED: the client has not run the VCPU for a while, on purpose. The
 * guest's clocks went on; its kernel is told by its paravirtual clock, so that
 * it takes the gap for no fault of its own. Before the next RUN.
 */
struct vmm_paused_params {
	uint32_t	vpd_vm_id;
	uint32_t	vpd_vcpu_id;
};

/* VMM_IOC_WAIT: blocks until the VM (of any process that INFO shows) has
 * ended. EINTR when a signal comes first, ENOENT when there is none. */
struct vmm_wait_params {
	uint32_t	vw_vm_id;
};

/* VMM_IOC_STATS: what the VM's engine counted since CREATE. Waits for the
 * VCPU's RUN to return. */
struct vmm_stats_params {
	uint32_t	vst_vm_id;
	uint32_t	vst_vcpu_id;
	uint64_t	vst_insns;	/* guest instructions executed */
	uint64_t	vst_exits;	/* returns from RUN */
	/* In: where a report for people goes, lines of "name: value", and how
	 * many bytes are there; NULL: none is wanted. Cut to fit, ends in NUL. */
	char		*vst_text;
	size_t		 vst_textlen;
	uint64_t	vst_reserved[12];
};

/*
 * VMM_IOC_STATE: saves all that the VM has besides its memory, or loads it into
 * the VM that it was saved of. EBUSY: a VCPU runs, or its last exit has not
 * been answered by a RUN. ENOSPC: vsp_size says how much room it takes.
 * EINVAL: what was to be loaded is not such a state, or of another
 * configuration, as vsp_why says (written back in spite of the error); the
 * VM has then to be loaded otherwise or to be reset.
 */
struct vmm_state_params {
	uint32_t	vsp_vm_id;
	uint32_t	vsp_load;	/* 0: save */
	void		*vsp_data;
	size_t		 vsp_size;	/* out: what was saved */
	char		 vsp_why[192];
};

#define VMM_IOC_ENGINE	_IOWR('V', 128, struct vmm_engine_params)
#define VMM_IOC_ENABLE	_IOW('V', 129, struct vmm_enable_params)
#define VMM_IOC_IRQLINE	_IOW('V', 130, struct vmm_irqline_params)
#define VMM_IOC_WRITTEN	_IOW('V', 131, struct vmm_written_params)
#define VMM_IOC_KICK	_IOW('V', 132, struct vmm_kick_params)
#define VMM_IOC_WAIT	_IOW('V', 133, struct vmm_wait_params)
#define VMM_IOC_STATS	_IOWR('V', 134, struct vmm_stats_params)
#define VMM_IOC_IRQSTATE _IOWR('V', 135, struct vmm_irqstate_params)
#define VMM_IOC_SHARE	_IOW('V', 136, struct vmm_share_params)
#define VMM_IOC_ENGINEINFO _IOWR('V', 137, struct vmm_engineinfo_params)
#define VMM_IOC_PAUSED	_IOW('V', 138, struct vmm_paused_params)
#define VMM_IOC_STATE	_IOWR('V', 139, struct vmm_state_params)

#ifdef __cplusplus
}
#endif

#endif
