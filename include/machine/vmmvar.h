/*
 * The vmm(4) interface: what clients of /dev/vmm include.
 *
 * One job: the names, values and layouts of OpenBSD 6.9's virtual machine
 * monitor on amd64. vmm(4) says what the commands do; <vmm.h> adds what is
 * ours beyond them.
 *
 * 1. The layouts are an ABI: the assertions at the end pin every size and
 *    offset, and never change.
 * 2. This header needs no other, and is valid C99 and C++11 and later.
 */
#ifndef MACHINE_VMMVAR_H
#define MACHINE_VMMVAR_H

#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/types.h>

/* Guest-physical and virtual addresses. */
typedef unsigned long	paddr_t;
typedef unsigned long	vaddr_t;

#define VMM_HV_SIGNATURE	"OpenBSDVMM58"

/* --- limits ----------------------------------------------------------- */

#define VMM_MAX_MEM_RANGES	16
#define VMM_MAX_DISKS_PER_VM	4
#define VMM_MAX_PATH_DISK	128
#define VMM_MAX_PATH_CDROM	128
#define VMM_MAX_NAME_LEN	64
#define VMM_MAX_KERNEL_PATH	128
#define VMM_MAX_VCPUS_PER_VM	64
#define VMM_MAX_VM_MEM_SIZE	32768		/* MiB */
#define VMM_MAX_NICS_PER_VM	4

/* Where a client may put PCI BARs: no memory range lies in the MMIO window. */
#define VMM_PCI_MMIO_BAR_BASE	0xF0000000ULL
#define VMM_PCI_MMIO_BAR_END	0xFFFFFFFFULL
#define VMM_PCI_MMIO_BAR_SIZE	0x00010000
#define VMM_PCI_IO_BAR_BASE	0x1000
#define VMM_PCI_IO_BAR_END	0xFFFF
#define VMM_PCI_IO_BAR_SIZE	0x1000

/* Ports that have no other home. */
#define PCKBC_AUX		0x61
#define ELCR0			0x4D0
#define ELCR1			0x4D1

/* --- states and codes ------------------------------------------------- */

enum {
	VCPU_STATE_STOPPED,
	VCPU_STATE_RUNNING,
	VCPU_STATE_REQTERM,
	VCPU_STATE_TERMINATED,
	VCPU_STATE_UNKNOWN
};

enum {
	VEI_DIR_OUT,
	VEI_DIR_IN
};

enum {
	VEE_FAULT_PROTECT
};

enum {
	VMM_CPU_MODE_REAL,
	VMM_CPU_MODE_PROT,
	VMM_CPU_MODE_PROT32,
	VMM_CPU_MODE_COMPAT,
	VMM_CPU_MODE_LONG,
	VMM_CPU_MODE_UNKNOWN
};

/* Exceptions (SDM vol. 3A table 6-1). */
#define VMM_EX_DE	0	/* divide error */
#define VMM_EX_DB	1	/* debug */
#define VMM_EX_NMI	2	/* non-maskable interrupt */
#define VMM_EX_BP	3	/* breakpoint */
#define VMM_EX_OF	4	/* overflow */
#define VMM_EX_BR	5	/* BOUND range exceeded */
#define VMM_EX_UD	6	/* invalid opcode */
#define VMM_EX_NM	7	/* device not available */
#define VMM_EX_DF	8	/* double fault */
#define VMM_EX_CP	9	/* coprocessor segment overrun */
#define VMM_EX_TS	10	/* invalid TSS */
#define VMM_EX_NP	11	/* segment not present */
#define VMM_EX_SS	12	/* stack segment fault */
#define VMM_EX_GP	13	/* general protection */
#define VMM_EX_PF	14	/* page fault */
#define VMM_EX_MF	16	/* x87 floating-point error */
#define VMM_EX_AC	17	/* alignment check */
#define VMM_EX_MC	18	/* machine check */
#define VMM_EX_XM	19	/* SIMD floating-point exception */
#define VMM_EX_VE	20	/* virtualization exception */

/* --- exit reasons ----------------------------------------------------- */

/* vrp_exit_reason values that are no hardware's. */
#define VM_EXIT_TERMINATED			0xFFFE
#define VM_EXIT_NONE				0xFFFF

/* Basic exit reasons (SDM vol. 3D appendix C): what vrp_exit_reason says. */
#define VMX_EXIT_NMI					0
#define VMX_EXIT_EXTINT					1
#define VMX_EXIT_TRIPLE_FAULT				2
#define VMX_EXIT_INIT					3
#define VMX_EXIT_SIPI					4
#define VMX_EXIT_IO_SMI					5
#define VMX_EXIT_OTHER_SMI				6
#define VMX_EXIT_INT_WINDOW				7
#define VMX_EXIT_NMI_WINDOW				8
#define VMX_EXIT_TASK_SWITCH				9
#define VMX_EXIT_CPUID					10
#define VMX_EXIT_GETSEC					11
#define VMX_EXIT_HLT					12
#define VMX_EXIT_INVD					13
#define VMX_EXIT_INVLPG					14
#define VMX_EXIT_RDPMC					15
#define VMX_EXIT_RDTSC					16
#define VMX_EXIT_RSM					17
#define VMX_EXIT_VMCALL					18
#define VMX_EXIT_VMCLEAR				19
#define VMX_EXIT_VMLAUNCH				20
#define VMX_EXIT_VMPTRLD				21
#define VMX_EXIT_VMPTRST				22
#define VMX_EXIT_VMREAD					23
#define VMX_EXIT_VMRESUME				24
#define VMX_EXIT_VMWRITE				25
#define VMX_EXIT_VMXOFF					26
#define VMX_EXIT_VMXON					27
#define VMX_EXIT_CR_ACCESS				28
#define VMX_EXIT_MOV_DR					29
#define VMX_EXIT_IO					30
#define VMX_EXIT_RDMSR					31
#define VMX_EXIT_WRMSR					32
#define VMX_EXIT_ENTRY_FAILED_GUEST_STATE		33
#define VMX_EXIT_ENTRY_FAILED_MSR_LOAD			34
#define VMX_EXIT_MWAIT					36
#define VMX_EXIT_MTF					37
#define VMX_EXIT_MONITOR				39
#define VMX_EXIT_PAUSE					40
#define VMX_EXIT_ENTRY_FAILED_MCE			41
#define VMX_EXIT_TPR_BELOW_THRESHOLD			43
#define VMX_EXIT_APIC_ACCESS				44
#define VMX_EXIT_VIRTUALIZED_EOI			45
#define VMX_EXIT_GDTR_IDTR				46
#define VMX_EXIT_LDTR_TR				47
#define VMX_EXIT_EPT_VIOLATION				48
#define VMX_EXIT_EPT_MISCONFIGURATION			49
#define VMX_EXIT_INVEPT					50
#define VMX_EXIT_RDTSCP					51
#define VMX_EXIT_VMX_PREEMPTION_TIMER_EXPIRED		52
#define VMX_EXIT_INVVPID				53
#define VMX_EXIT_WBINVD					54
#define VMX_EXIT_XSETBV					55
#define VMX_EXIT_APIC_WRITE				56
#define VMX_EXIT_RDRAND					57
#define VMX_EXIT_INVPCID				58
#define VMX_EXIT_VMFUNC					59
#define VMX_EXIT_ENCLS					60
#define VMX_EXIT_RDSEED					61
#define VMX_EXIT_PML_FULL				62
#define VMX_EXIT_XSAVES					63
#define VMX_EXIT_XRSTORS				64

/* Intercept codes (APM vol. 2 appendix C): what AMD hosts used to report. */
#define SVM_VMEXIT_CR0_READ				0x00
#define SVM_VMEXIT_CR1_READ				0x01
#define SVM_VMEXIT_CR2_READ				0x02
#define SVM_VMEXIT_CR3_READ				0x03
#define SVM_VMEXIT_CR4_READ				0x04
#define SVM_VMEXIT_CR5_READ				0x05
#define SVM_VMEXIT_CR6_READ				0x06
#define SVM_VMEXIT_CR7_READ				0x07
#define SVM_VMEXIT_CR8_READ				0x08
#define SVM_VMEXIT_CR9_READ				0x09
#define SVM_VMEXIT_CR10_READ				0x0A
#define SVM_VMEXIT_CR11_READ				0x0B
#define SVM_VMEXIT_CR12_READ				0x0C
#define SVM_VMEXIT_CR13_READ				0x0D
#define SVM_VMEXIT_CR14_READ				0x0E
#define SVM_VMEXIT_CR15_READ				0x0F
#define SVM_VMEXIT_CR0_WRITE				0x10
#define SVM_VMEXIT_CR1_WRITE				0x11
#define SVM_VMEXIT_CR2_WRITE				0x12
#define SVM_VMEXIT_CR3_WRITE				0x13
#define SVM_VMEXIT_CR4_WRITE				0x14
#define SVM_VMEXIT_CR5_WRITE				0x15
#define SVM_VMEXIT_CR6_WRITE				0x16
#define SVM_VMEXIT_CR7_WRITE				0x17
#define SVM_VMEXIT_CR8_WRITE				0x18
#define SVM_VMEXIT_CR9_WRITE				0x19
#define SVM_VMEXIT_CR10_WRITE				0x1A
#define SVM_VMEXIT_CR11_WRITE				0x1B
#define SVM_VMEXIT_CR12_WRITE				0x1C
#define SVM_VMEXIT_CR13_WRITE				0x1D
#define SVM_VMEXIT_CR14_WRITE				0x1E
#define SVM_VMEXIT_CR15_WRITE				0x1F
#define SVM_VMEXIT_DR0_READ				0x20
#define SVM_VMEXIT_DR1_READ				0x21
#define SVM_VMEXIT_DR2_READ				0x22
#define SVM_VMEXIT_DR3_READ				0x23
#define SVM_VMEXIT_DR4_READ				0x24
#define SVM_VMEXIT_DR5_READ				0x25
#define SVM_VMEXIT_DR6_READ				0x26
#define SVM_VMEXIT_DR7_READ				0x27
#define SVM_VMEXIT_DR8_READ				0x28
#define SVM_VMEXIT_DR9_READ				0x29
#define SVM_VMEXIT_DR10_READ				0x2A
#define SVM_VMEXIT_DR11_READ				0x2B
#define SVM_VMEXIT_DR12_READ				0x2C
#define SVM_VMEXIT_DR13_READ				0x2D
#define SVM_VMEXIT_DR14_READ				0x2E
#define SVM_VMEXIT_DR15_READ				0x2F
#define SVM_VMEXIT_DR0_WRITE				0x30
#define SVM_VMEXIT_DR1_WRITE				0x31
#define SVM_VMEXIT_DR2_WRITE				0x32
#define SVM_VMEXIT_DR3_WRITE				0x33
#define SVM_VMEXIT_DR4_WRITE				0x34
#define SVM_VMEXIT_DR5_WRITE				0x35
#define SVM_VMEXIT_DR6_WRITE				0x36
#define SVM_VMEXIT_DR7_WRITE				0x37
#define SVM_VMEXIT_DR8_WRITE				0x38
#define SVM_VMEXIT_DR9_WRITE				0x39
#define SVM_VMEXIT_DR10_WRITE				0x3A
#define SVM_VMEXIT_DR11_WRITE				0x3B
#define SVM_VMEXIT_DR12_WRITE				0x3C
#define SVM_VMEXIT_DR13_WRITE				0x3D
#define SVM_VMEXIT_DR14_WRITE				0x3E
#define SVM_VMEXIT_DR15_WRITE				0x3F
#define SVM_VMEXIT_EXCP0				0x40
#define SVM_VMEXIT_EXCP1				0x41
#define SVM_VMEXIT_EXCP2				0x42
#define SVM_VMEXIT_EXCP3				0x43
#define SVM_VMEXIT_EXCP4				0x44
#define SVM_VMEXIT_EXCP5				0x45
#define SVM_VMEXIT_EXCP6				0x46
#define SVM_VMEXIT_EXCP7				0x47
#define SVM_VMEXIT_EXCP8				0x48
#define SVM_VMEXIT_EXCP9				0x49
#define SVM_VMEXIT_EXCP10				0x4A
#define SVM_VMEXIT_EXCP11				0x4B
#define SVM_VMEXIT_EXCP12				0x4C
#define SVM_VMEXIT_EXCP13				0x4D
#define SVM_VMEXIT_EXCP14				0x4E
#define SVM_VMEXIT_EXCP15				0x4F
#define SVM_VMEXIT_EXCP16				0x50
#define SVM_VMEXIT_EXCP17				0x51
#define SVM_VMEXIT_EXCP18				0x52
#define SVM_VMEXIT_EXCP19				0x53
#define SVM_VMEXIT_EXCP20				0x54
#define SVM_VMEXIT_EXCP21				0x55
#define SVM_VMEXIT_EXCP22				0x56
#define SVM_VMEXIT_EXCP23				0x57
#define SVM_VMEXIT_EXCP24				0x58
#define SVM_VMEXIT_EXCP25				0x59
#define SVM_VMEXIT_EXCP26				0x5A
#define SVM_VMEXIT_EXCP27				0x5B
#define SVM_VMEXIT_EXCP28				0x5C
#define SVM_VMEXIT_EXCP29				0x5D
#define SVM_VMEXIT_EXCP30				0x5E
#define SVM_VMEXIT_EXCP31				0x5F
#define SVM_VMEXIT_INTR					0x60
#define SVM_VMEXIT_NMI					0x61
#define SVM_VMEXIT_SMI					0x62
#define SVM_VMEXIT_INIT					0x63
#define SVM_VMEXIT_VINTR				0x64
#define SVM_VMEXIT_CR0_SEL_WRITE			0x65
#define SVM_VMEXIT_IDTR_READ				0x66
#define SVM_VMEXIT_GDTR_READ				0x67
#define SVM_VMEXIT_LDTR_READ				0x68
#define SVM_VMEXIT_TR_READ				0x69
#define SVM_VMEXIT_IDTR_WRITE				0x6A
#define SVM_VMEXIT_GDTR_WRITE				0x6B
#define SVM_VMEXIT_LDTR_WRITE				0x6C
#define SVM_VMEXIT_TR_WRITE				0x6D
#define SVM_VMEXIT_RDTSC				0x6E
#define SVM_VMEXIT_RDPMC				0x6F
#define SVM_VMEXIT_PUSHF				0x70
#define SVM_VMEXIT_POPF					0x71
#define SVM_VMEXIT_CPUID				0x72
#define SVM_VMEXIT_RSM					0x73
#define SVM_VMEXIT_IRET					0x74
#define SVM_VMEXIT_SWINT				0x75
#define SVM_VMEXIT_INVD					0x76
#define SVM_VMEXIT_PAUSE				0x77
#define SVM_VMEXIT_HLT					0x78
#define SVM_VMEXIT_INVLPG				0x79
#define SVM_VMEXIT_INVLPGA				0x7A
#define SVM_VMEXIT_IOIO					0x7B
#define SVM_VMEXIT_MSR					0x7C
#define SVM_VMEXIT_TASK_SWITCH				0x7D
#define SVM_VMEXIT_FERR_FREEZE				0x7E
#define SVM_VMEXIT_SHUTDOWN				0x7F
#define SVM_VMEXIT_VMRUN				0x80
#define SVM_VMEXIT_VMMCALL				0x81
#define SVM_VMEXIT_VMLOAD				0x82
#define SVM_VMEXIT_VMSAVE				0x83
#define SVM_VMEXIT_STGI					0x84
#define SVM_VMEXIT_CLGI					0x85
#define SVM_VMEXIT_SKINIT				0x86
#define SVM_VMEXIT_RDTSCP				0x87
#define SVM_VMEXIT_ICEBP				0x88
#define SVM_VMEXIT_WBINVD				0x89
#define SVM_VMEXIT_MONITOR				0x8A
#define SVM_VMEXIT_MWAIT				0x8B
#define SVM_VMEXIT_MWAIT_CONDITIONAL			0x8C
#define SVM_VMEXIT_XSETBV				0x8D
#define SVM_VMEXIT_RDPRU				0x8E
#define SVM_VMEXIT_EFER_WRITE_TRAP			0x8F
#define SVM_VMEXIT_CR0_WRITE_TRAP			0x90
#define SVM_VMEXIT_CR1_WRITE_TRAP			0x91
#define SVM_VMEXIT_CR2_WRITE_TRAP			0x92
#define SVM_VMEXIT_CR3_WRITE_TRAP			0x93
#define SVM_VMEXIT_CR4_WRITE_TRAP			0x94
#define SVM_VMEXIT_CR5_WRITE_TRAP			0x95
#define SVM_VMEXIT_CR6_WRITE_TRAP			0x96
#define SVM_VMEXIT_CR7_WRITE_TRAP			0x97
#define SVM_VMEXIT_CR8_WRITE_TRAP			0x98
#define SVM_VMEXIT_CR9_WRITE_TRAP			0x99
#define SVM_VMEXIT_CR10_WRITE_TRAP			0x9A
#define SVM_VMEXIT_CR11_WRITE_TRAP			0x9B
#define SVM_VMEXIT_CR12_WRITE_TRAP			0x9C
#define SVM_VMEXIT_CR13_WRITE_TRAP			0x9D
#define SVM_VMEXIT_CR14_WRITE_TRAP			0x9E
#define SVM_VMEXIT_CR15_WRITE_TRAP			0x9F
#define SVM_VMEXIT_INVLPGB				0xA0
#define SVM_VMEXIT_INVLPGB_ILLEGAL			0xA1
#define SVM_VMEXIT_INVPCID				0xA2
#define SVM_VMEXIT_MCOMMIT				0xA3
#define SVM_VMEXIT_TLBSYNC				0xA4
#define SVM_VMEXIT_BUSLOCK				0xA5
#define SVM_VMEXIT_IDLE_HLT				0xA6
#define SVM_VMEXIT_NPF					0x400
#define SVM_AVIC_INCOMPLETE_IPI				0x401
#define SVM_AVIC_NOACCEL				0x402
#define SVM_VMEXIT_VMGEXIT				0x403
#define SVM_VMEXIT_INVALID				(-1)
#define SVM_VMEXIT_BUSY					(-2)

/* --- registers -------------------------------------------------------- */

#define VCPU_REGS_RAX		0
#define VCPU_REGS_RBX		1
#define VCPU_REGS_RCX		2
#define VCPU_REGS_RDX		3
#define VCPU_REGS_RSI		4
#define VCPU_REGS_RDI		5
#define VCPU_REGS_R8		6
#define VCPU_REGS_R9		7
#define VCPU_REGS_R10		8
#define VCPU_REGS_R11		9
#define VCPU_REGS_R12		10
#define VCPU_REGS_R13		11
#define VCPU_REGS_R14		12
#define VCPU_REGS_R15		13
#define VCPU_REGS_RSP		14
#define VCPU_REGS_RBP		15
#define VCPU_REGS_RIP		16
#define VCPU_REGS_RFLAGS	17
#define VCPU_REGS_NGPRS		18

#define VCPU_REGS_CR0		0
#define VCPU_REGS_CR2		1
#define VCPU_REGS_CR3		2
#define VCPU_REGS_CR4		3
#define VCPU_REGS_CR8		4
#define VCPU_REGS_XCR0		5
#define VCPU_REGS_PDPTE0	6
#define VCPU_REGS_PDPTE1	7
#define VCPU_REGS_PDPTE2	8
#define VCPU_REGS_PDPTE3	9
#define VCPU_REGS_NCRS		10

#define VCPU_REGS_CS		0
#define VCPU_REGS_DS		1
#define VCPU_REGS_ES		2
#define VCPU_REGS_FS		3
#define VCPU_REGS_GS		4
#define VCPU_REGS_SS		5
#define VCPU_REGS_LDTR		6
#define VCPU_REGS_TR		7
#define VCPU_REGS_NSREGS	8

#define VCPU_REGS_EFER		0
#define VCPU_REGS_STAR		1
#define VCPU_REGS_LSTAR		2
#define VCPU_REGS_CSTAR		3
#define VCPU_REGS_SFMASK	4
#define VCPU_REGS_KGSBASE	5
#define VCPU_REGS_MISC_ENABLE	6
#define VCPU_REGS_NMSRS		7

#define VCPU_REGS_DR0		0
#define VCPU_REGS_DR1		1
#define VCPU_REGS_DR2		2
#define VCPU_REGS_DR3		3
#define VCPU_REGS_DR6		4
#define VCPU_REGS_DR7		5
#define VCPU_REGS_NDRS		6

/* Register groups, for vrwp_mask. */
#define VM_RWREGS_GPRS		0x1
#define VM_RWREGS_SREGS		0x2
#define VM_RWREGS_CRS		0x4
#define VM_RWREGS_MSRS		0x8
#define VM_RWREGS_DRS		0x10
#define VM_RWREGS_ALL		(VM_RWREGS_GPRS | VM_RWREGS_SREGS |	\
				    VM_RWREGS_CRS | VM_RWREGS_MSRS |	\
				    VM_RWREGS_DRS)

/* VM parameters, for vpp_mask. */
#define VM_RWVMPARAMS_PVCLOCK_SYSTEM_GPA 0x1
#define VM_RWVMPARAMS_PVCLOCK_VERSION	0x2
#define VM_RWVMPARAMS_ALL	(VM_RWVMPARAMS_PVCLOCK_SYSTEM_GPA |	\
				    VM_RWVMPARAMS_PVCLOCK_VERSION)

/* --- what an exit says ------------------------------------------------ */

/* VMX_EXIT_IO */
struct vm_exit_inout {
	uint8_t		vei_size;	/* 1, 2, 4 */
	uint8_t		vei_dir;	/* VEI_DIR_* */
	uint8_t		vei_rep;	/* has a REP prefix */
	uint8_t		vei_string;	/* INS or OUTS */
	uint8_t		vei_encoding;	/* 0: port in DX, 1: immediate */
	uint16_t	vei_port;
	uint32_t	vei_data;	/* OUT: from the guest; IN: to it */
};

/* VMX_EXIT_EPT_VIOLATION */
struct vm_exit_eptviolation {
	uint8_t		vee_fault_type;	/* VEE_FAULT_* */
};

/*
 * A segment register. vsi_ar is in VMX form (SDM vol. 3C table 24-2): type
 * 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.
 */
struct vcpu_segment_info {
	uint16_t	vsi_sel;
	uint32_t	vsi_limit;
	uint32_t	vsi_ar;
	uint64_t	vsi_base;
};

struct vcpu_reg_state {
	uint64_t	vrs_gprs[VCPU_REGS_NGPRS];
	uint64_t	vrs_crs[VCPU_REGS_NCRS];
	uint64_t	vrs_msrs[VCPU_REGS_NMSRS];
	uint64_t	vrs_drs[VCPU_REGS_NDRS];
	struct vcpu_segment_info vrs_sregs[VCPU_REGS_NSREGS];
	struct vcpu_segment_info vrs_gdtr;
	struct vcpu_segment_info vrs_idtr;
};

struct vm_exit {
	__extension__ union {
		struct vm_exit_inout		vei;
		struct vm_exit_eptviolation	vee;
	};
	struct vcpu_reg_state	vrs;
	int			cpl;
};

/* --- parameters of the commands --------------------------------------- */

/* Guest-physical [vmr_gpa, +vmr_size) is the client's memory at vmr_va. */
struct vm_mem_range {
	paddr_t		vmr_gpa;
	vaddr_t		vmr_va;
	size_t		vmr_size;
};

struct vm_create_params {
	/* in */
	size_t		vcp_nmemranges;
	size_t		vcp_ncpus;
	size_t		vcp_ndisks;
	size_t		vcp_nnics;
	struct vm_mem_range vcp_memranges[VMM_MAX_MEM_RANGES];
	char		vcp_disks[VMM_MAX_DISKS_PER_VM][VMM_MAX_PATH_DISK];
	char		vcp_cdrom[VMM_MAX_PATH_CDROM];
	char		vcp_name[VMM_MAX_NAME_LEN];
	char		vcp_kernel[VMM_MAX_KERNEL_PATH];
	uint8_t		vcp_macs[VMM_MAX_NICS_PER_VM][6];
	/* out */
	uint32_t	vcp_id;
};

struct vm_run_params {
	/* in */
	uint32_t	vrp_vm_id;
	uint32_t	vrp_vcpu_id;
	uint8_t		vrp_continue;	/* *vrp_exit answers the last exit */
	uint16_t	vrp_irq;	/* vector to inject, 0xFFFF: none */
	/* in and out */
	struct vm_exit	*vrp_exit;
	/* out */
	uint16_t	vrp_exit_reason; /* VMX_EXIT_*, VM_EXIT_* */
	uint8_t		vrp_irqready;	/* the guest could take one now */
};

struct vm_info_result {
	size_t		vir_memory_size;	/* MiB */
	size_t		vir_used_size;		/* resident, bytes */
	size_t		vir_ncpus;
	uint8_t		vir_vcpu_state[VMM_MAX_VCPUS_PER_VM];
	pid_t		vir_creator_pid;
	uint32_t	vir_id;
	char		vir_name[VMM_MAX_NAME_LEN];
};

struct vm_info_params {
	/* in; out when it is too small */
	size_t		vip_size;	/* of the buffer, in bytes */
	/* out */
	size_t		vip_info_ct;	/* results in the buffer */
	struct vm_info_result *vip_info;
};

struct vm_terminate_params {
	uint32_t	vtp_vm_id;
};

struct vm_resetcpu_params {
	uint32_t	vrp_vm_id;
	uint32_t	vrp_vcpu_id;
	struct vcpu_reg_state vrp_init_state;
};

struct vm_intr_params {
	uint32_t	vip_vm_id;
	uint32_t	vip_vcpu_id;
	uint16_t	vip_intr;	/* 1: an interrupt waits, 0: none */
};

struct vm_rwregs_params {
	uint32_t	vrwp_vm_id;
	uint32_t	vrwp_vcpu_id;
	uint64_t	vrwp_mask;	/* VM_RWREGS_* */
	struct vcpu_reg_state vrwp_regs;
};

struct vm_rwvmparams_params {
	uint32_t	vpp_vm_id;
	uint32_t	vpp_vcpu_id;
	uint32_t	vpp_mask;	/* VM_RWVMPARAMS_* */
	paddr_t		vpp_pvclock_system_gpa;
	uint32_t	vpp_pvclock_version;
};

struct vm_mprotect_ept_params {
	uint32_t	vmep_vm_id;
	uint32_t	vmep_vcpu_id;
	vaddr_t		vmep_sgpa;
	size_t		vmep_size;
	int		vmep_prot;	/* PROT_* */
};

/* --- the commands ----------------------------------------------------- */

#define VMM_IOC_CREATE		_IOWR('V', 1, struct vm_create_params)
#define VMM_IOC_RUN		_IOWR('V', 2, struct vm_run_params)
#define VMM_IOC_INFO		_IOWR('V', 3, struct vm_info_params)
#define VMM_IOC_TERM		_IOW('V', 4, struct vm_terminate_params)
#define VMM_IOC_RESETCPU	_IOW('V', 5, struct vm_resetcpu_params)
#define VMM_IOC_INTR		_IOW('V', 6, struct vm_intr_params)
#define VMM_IOC_READREGS	_IOWR('V', 7, struct vm_rwregs_params)
#define VMM_IOC_WRITEREGS	_IOW('V', 8, struct vm_rwregs_params)
#define VMM_IOC_READVMPARAMS	_IOWR('V', 9, struct vm_rwvmparams_params)
#define VMM_IOC_WRITEVMPARAMS	_IOW('V', 10, struct vm_rwvmparams_params)
#define VMM_IOC_MPROTECT_EPT	_IOW('V', 11, struct vm_mprotect_ept_params)

/* --- the layouts, LP64 ------------------------------------------------ */

#ifdef __cplusplus
#define VMMVAR_ASSERT(e)	static_assert(e, #e)
#else
#define VMMVAR_ASSERT(e)	__extension__ _Static_assert(e, #e)
#endif
#define VMMVAR_SIZE(s, size)	VMMVAR_ASSERT(sizeof(struct s) == (size))
#define VMMVAR_AT(s, field, at)	VMMVAR_ASSERT(offsetof(struct s, field) == (at))

VMMVAR_SIZE(vm_exit_inout, 12);
VMMVAR_AT(vm_exit_inout, vei_size, 0);
VMMVAR_AT(vm_exit_inout, vei_dir, 1);
VMMVAR_AT(vm_exit_inout, vei_rep, 2);
VMMVAR_AT(vm_exit_inout, vei_string, 3);
VMMVAR_AT(vm_exit_inout, vei_encoding, 4);
VMMVAR_AT(vm_exit_inout, vei_port, 6);
VMMVAR_AT(vm_exit_inout, vei_data, 8);
VMMVAR_SIZE(vm_exit_eptviolation, 1);
VMMVAR_AT(vm_exit_eptviolation, vee_fault_type, 0);
VMMVAR_SIZE(vcpu_segment_info, 24);
VMMVAR_AT(vcpu_segment_info, vsi_sel, 0);
VMMVAR_AT(vcpu_segment_info, vsi_limit, 4);
VMMVAR_AT(vcpu_segment_info, vsi_ar, 8);
VMMVAR_AT(vcpu_segment_info, vsi_base, 16);
VMMVAR_SIZE(vcpu_reg_state, 568);
VMMVAR_AT(vcpu_reg_state, vrs_gprs, 0);
VMMVAR_AT(vcpu_reg_state, vrs_crs, 144);
VMMVAR_AT(vcpu_reg_state, vrs_msrs, 224);
VMMVAR_AT(vcpu_reg_state, vrs_drs, 280);
VMMVAR_AT(vcpu_reg_state, vrs_sregs, 328);
VMMVAR_AT(vcpu_reg_state, vrs_gdtr, 520);
VMMVAR_AT(vcpu_reg_state, vrs_idtr, 544);
VMMVAR_SIZE(vm_mem_range, 24);
VMMVAR_AT(vm_mem_range, vmr_gpa, 0);
VMMVAR_AT(vm_mem_range, vmr_va, 8);
VMMVAR_AT(vm_mem_range, vmr_size, 16);
VMMVAR_SIZE(vm_exit, 592);
VMMVAR_AT(vm_exit, vei, 0);
VMMVAR_AT(vm_exit, vee, 0);
VMMVAR_AT(vm_exit, vrs, 16);
VMMVAR_AT(vm_exit, cpl, 584);
VMMVAR_SIZE(vm_create_params, 1280);
VMMVAR_AT(vm_create_params, vcp_nmemranges, 0);
VMMVAR_AT(vm_create_params, vcp_ncpus, 8);
VMMVAR_AT(vm_create_params, vcp_ndisks, 16);
VMMVAR_AT(vm_create_params, vcp_nnics, 24);
VMMVAR_AT(vm_create_params, vcp_memranges, 32);
VMMVAR_AT(vm_create_params, vcp_disks, 416);
VMMVAR_AT(vm_create_params, vcp_cdrom, 928);
VMMVAR_AT(vm_create_params, vcp_name, 1056);
VMMVAR_AT(vm_create_params, vcp_kernel, 1120);
VMMVAR_AT(vm_create_params, vcp_macs, 1248);
VMMVAR_AT(vm_create_params, vcp_id, 1272);
VMMVAR_SIZE(vm_run_params, 32);
VMMVAR_AT(vm_run_params, vrp_vm_id, 0);
VMMVAR_AT(vm_run_params, vrp_vcpu_id, 4);
VMMVAR_AT(vm_run_params, vrp_continue, 8);
VMMVAR_AT(vm_run_params, vrp_irq, 10);
VMMVAR_AT(vm_run_params, vrp_exit, 16);
VMMVAR_AT(vm_run_params, vrp_exit_reason, 24);
VMMVAR_AT(vm_run_params, vrp_irqready, 26);
VMMVAR_SIZE(vm_info_result, 160);
VMMVAR_AT(vm_info_result, vir_memory_size, 0);
VMMVAR_AT(vm_info_result, vir_used_size, 8);
VMMVAR_AT(vm_info_result, vir_ncpus, 16);
VMMVAR_AT(vm_info_result, vir_vcpu_state, 24);
VMMVAR_AT(vm_info_result, vir_creator_pid, 88);
VMMVAR_AT(vm_info_result, vir_id, 92);
VMMVAR_AT(vm_info_result, vir_name, 96);
VMMVAR_SIZE(vm_info_params, 24);
VMMVAR_AT(vm_info_params, vip_size, 0);
VMMVAR_AT(vm_info_params, vip_info_ct, 8);
VMMVAR_AT(vm_info_params, vip_info, 16);
VMMVAR_SIZE(vm_terminate_params, 4);
VMMVAR_AT(vm_terminate_params, vtp_vm_id, 0);
VMMVAR_SIZE(vm_resetcpu_params, 576);
VMMVAR_AT(vm_resetcpu_params, vrp_vm_id, 0);
VMMVAR_AT(vm_resetcpu_params, vrp_vcpu_id, 4);
VMMVAR_AT(vm_resetcpu_params, vrp_init_state, 8);
VMMVAR_SIZE(vm_intr_params, 12);
VMMVAR_AT(vm_intr_params, vip_vm_id, 0);
VMMVAR_AT(vm_intr_params, vip_vcpu_id, 4);
VMMVAR_AT(vm_intr_params, vip_intr, 8);
VMMVAR_SIZE(vm_rwregs_params, 584);
VMMVAR_AT(vm_rwregs_params, vrwp_vm_id, 0);
VMMVAR_AT(vm_rwregs_params, vrwp_vcpu_id, 4);
VMMVAR_AT(vm_rwregs_params, vrwp_mask, 8);
VMMVAR_AT(vm_rwregs_params, vrwp_regs, 16);
VMMVAR_SIZE(vm_rwvmparams_params, 32);
VMMVAR_AT(vm_rwvmparams_params, vpp_vm_id, 0);
VMMVAR_AT(vm_rwvmparams_params, vpp_vcpu_id, 4);
VMMVAR_AT(vm_rwvmparams_params, vpp_mask, 8);
VMMVAR_AT(vm_rwvmparams_params, vpp_pvclock_system_gpa, 16);
VMMVAR_AT(vm_rwvmparams_params, vpp_pvclock_version, 24);
VMMVAR_SIZE(vm_mprotect_ept_params, 32);
VMMVAR_AT(vm_mprotect_ept_params, vmep_vm_id, 0);
VMMVAR_AT(vm_mprotect_ept_params, vmep_vcpu_id, 4);
VMMVAR_AT(vm_mprotect_ept_params, vmep_sgpa, 8);
VMMVAR_AT(vm_mprotect_ept_params, vmep_size, 16);
VMMVAR_AT(vm_mprotect_ept_params, vmep_prot, 24);

#undef VMMVAR_ASSERT
#undef VMMVAR_SIZE
#undef VMMVAR_AT

#endif
