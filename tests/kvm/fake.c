/*
 * The KVM of the tests (fake.h). One VM, one VCPU.
 */
#include <sys/ioctl.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/kvm/sys.h"
#include "fake.h"

#define RUN_SIZE	0x3000
enum { FD_DEV = 1000, FD_VM, FD_VCPU };

struct fake fake;

void
fake_reset(void)
{
	memset(&fake, 0, sizeof(fake));
	fake.f_xcr0 = 1;
}

/* True: this call is the one that fails. */
static bool
failing(const char *what, unsigned long request)
{
	if (++fake.f_calls != fake.f_fail)
		return (false);
	fake.f_failed = what;
	fake.f_request = request;
	errno = fake.f_errno;
	return (true);
}

static int
fake_open(const char *path)
{
	(void)path;
	if (fake.f_open_errno != 0) {
		errno = fake.f_open_errno;
		return (-1);
	}
	if (failing("open", 0))
		return (-1);
	fake.f_fds++;
	return (FD_DEV);
}

static int
fake_close(int fd)
{
	(void)fd;
	fake.f_fds--;
	return (0);
}

static void *
fake_map(int fd, size_t size)
{
	void *p;

	if (failing("map", 0) || (p = calloc(1, size)) == NULL)
		return (NULL);
	if (fd == FD_VCPU)
		fake.f_run = p;
	fake.f_maps++;
	return (p);
}

static void
fake_unmap(void *p, size_t size)
{
	(void)size;
	free(p);
	fake.f_maps--;
}

static int
fake_msrs(struct kvm_msrs *m, bool set)
{
	uint32_t n, i;

	for (n = 0; n < m->nmsrs; n++) {
		for (i = 0; i < fake.f_nmsrs; i++)
			if (fake.f_msr_index[i] == m->entries[n].index)
				break;
		if (i == fake.f_nmsrs) {
			fake.f_msr_index[i] = m->entries[n].index;
			fake.f_nmsrs++;
		}
		if (set)
			fake.f_msr[i] = m->entries[n].data;
		else
			m->entries[n].data = fake.f_msr[i];
	}
	return ((int)n);
}

static int
fake_run(void)
{
	struct kvm_run *run = fake.f_run;
	int error;

	fake.f_pending = false;
	if (run->immediate_exit) {
		error = EINTR;
		run->exit_reason = KVM_EXIT_INTR;
	} else if (fake.f_script == NULL || *fake.f_script == NULL) {
		fake.f_entries++;
		run->exit_reason = KVM_EXIT_HLT;
		error = 0;
	} else {
		fake.f_entries++;
		error = (*fake.f_script++)(run);
	}
	run->if_flag = (fake.f_regs.rflags & 0x200) != 0;
	run->ready_for_interrupt_injection = run->if_flag;
	run->s.regs.regs = fake.f_regs;
	errno = error;
	return (error == 0 ? 0 : -1);
}

/* A structure that is kept as it is. */
#define GET(member)	(memcpy(arg, &fake.member, sizeof(fake.member)), 0)
#define SET(member)	(memcpy(&fake.member, arg, sizeof(fake.member)), 0)

static int
fake_ioctl(int fd, unsigned long request, void *arg)
{
	struct kvm_translation *t = arg;
	struct kvm_xcrs *x = arg;
	const struct kvm_device_attr *attr = arg;

	(void)fd;
	if (failing("ioctl", request))
		return (-1);
	switch (request) {
	case KVM_GET_API_VERSION:
		return (KVM_API_VERSION);
	case KVM_CHECK_EXTENSION:
		return ((unsigned long)arg == fake.f_lacks ? 0 :
		    (unsigned long)arg == 232 ? 0 : 0xff);
	case KVM_GET_VCPU_MMAP_SIZE:
		return (RUN_SIZE);
	case KVM_CREATE_VM:
		fake.f_fds++;
		return (FD_VM);
	case KVM_CREATE_VCPU:
		fake.f_fds++;
		return (FD_VCPU);
	case KVM_GET_SUPPORTED_CPUID:
		((struct kvm_cpuid2 *)arg)->nent = 0;
		return (0);
	case KVM_GET_MSRS:
		return (fake_msrs(arg, false));
	case KVM_SET_MSRS:
		return (fake_msrs(arg, true));
	case KVM_GET_REGS:
		return (GET(f_regs));
	case KVM_SET_REGS:
		return (SET(f_regs));
	case KVM_GET_SREGS2:
		return (GET(f_sregs));
	case KVM_SET_SREGS2:
		return (SET(f_sregs));
	case KVM_GET_VCPU_EVENTS:
		return (GET(f_events));
	case KVM_SET_VCPU_EVENTS:
		return (SET(f_events));
	case KVM_GET_DEBUGREGS:
		return (GET(f_debugregs));
	case KVM_SET_DEBUGREGS:
		return (SET(f_debugregs));
	case KVM_GET_XSAVE:
		return (GET(f_xsave));
	case KVM_SET_XSAVE:
		return (SET(f_xsave));
	case KVM_GET_XCRS:
		memset(x, 0, sizeof(*x));
		x->nr_xcrs = 1;
		x->xcrs[0].value = fake.f_xcr0;
		return (0);
	case KVM_SET_XCRS:
		fake.f_xcr0 = x->xcrs[0].value;
		return (0);
	case KVM_SET_DEVICE_ATTR:
		memcpy(&fake.f_tsc_offset, (const void *)(uintptr_t)attr->addr,
		    sizeof(fake.f_tsc_offset));
		return (0);
	case KVM_TRANSLATE:
		t->physical_address = t->linear_address;
		t->valid = 1;
		return (0);
	case KVM_GET_STATS_FD:
		errno = ENOTTY;
		return (-1);
	case KVM_INTERRUPT:
		fake.f_injected = ((struct kvm_interrupt *)arg)->irq;
		return (0);
	case KVM_NMI:
		fake.f_nmis++;
		return (0);
	case KVM_RUN:
		return (fake_run());
	default:
		return (0);
	}
}

const struct kvm_sys kvm_sys = {
	.ks_open = fake_open,
	.ks_close = fake_close,
	.ks_ioctl = fake_ioctl,
	.ks_map = fake_map,
	.ks_unmap = fake_unmap,
};
