/*
 * Does KVM work here? What is asked of it, from the cheap to the dear; the
 * first thing that is missing is the answer.
 *
 * The test guest (guest.c) runs once a boot of the host, as far as we can
 * remember it (cache.c), and once a process at most.
 *
 * Any thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "engine/kvm/kvm.h"
#include "engine/kvm/sys.h"

static const struct {
	int		cap, bits;	/* 0: any */
	const char	*name, *since;
} probe_caps[] = {
	{ KVM_CAP_USER_MEMORY, 0, "guest memory", "2.6" },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 0, "memory changes", "2.6" },
	{ KVM_CAP_READONLY_MEM, 0, "read-only memory", "3.7" },
	{ KVM_CAP_EXT_CPUID, 0, "CPUID", "2.6" },
	{ KVM_CAP_USER_NMI, 0, "NMIs", "2.6" },
	{ KVM_CAP_VCPU_EVENTS, 0, "a VCPU's events", "2.6" },
	{ KVM_CAP_SET_GUEST_DEBUG, 0, "single steps", "2.6" },
	{ KVM_CAP_DEBUGREGS, 0, "debug registers", "2.6" },
	{ KVM_CAP_XSAVE, 0, "XSAVE state", "2.6" },
	{ KVM_CAP_XCRS, 0, "XCR0", "2.6" },
	{ KVM_CAP_IMMEDIATE_EXIT, 0, "immediate exits", "4.12" },
	{ KVM_CAP_SYNC_REGS, KVM_SYNC_X86_REGS, "shared registers", "4.18" },
	{ KVM_CAP_X86_USER_SPACE_MSR, 0, "MSR exits", "5.10" },
	{ KVM_CAP_X86_MSR_FILTER, 0, "MSR filters", "5.10" },
	{ KVM_CAP_SREGS2, 0, "system registers", "5.14" },
	{ KVM_CAP_VCPU_ATTRIBUTES, 0, "the TSC's offset", "5.16" },
};
#define NCAPS	(sizeof(probe_caps) / sizeof(probe_caps[0]))

/* Parameters of KVM's modules without which it is slow. */
static const struct {
	const char	*path, *what;
} probe_nested[] = {
	{ "/sys/module/kvm_intel/parameters/ept", "EPT" },
	{ "/sys/module/kvm_intel/parameters/unrestricted_guest",
	    "unrestricted guests" },
	{ "/sys/module/kvm_amd/parameters/npt", "nested paging" },
};
#define NNESTED	(sizeof(probe_nested) / sizeof(probe_nested[0]))

static int __attribute__((format(printf, 3, 4)))
fail(char *why, size_t whylen, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, whylen, fmt, ap);
	va_end(ap);
	return (ENODEV);
}

static int
probe_open(int *dev, char *why, size_t whylen)
{
	if ((*dev = kvm_sys.ks_open("/dev/kvm")) != -1)
		return (0);
	switch (errno) {
	case ENOENT:
	case ENXIO:
	case ENODEV:
		return (fail(why, whylen, "there is no /dev/kvm: no hardware "
		    "virtualization, or the module kvm_intel or kvm_amd is "
		    "not loaded"));
	case EACCES:
	case EPERM:
		return (fail(why, whylen, "/dev/kvm: %s; it is for the members "
		    "of its group", strerror(errno)));
	default:
		return (fail(why, whylen, "/dev/kvm: %s", strerror(errno)));
	}
}

static int
probe_capabilities(int dev, char *why, size_t whylen)
{
	int version, has;
	size_t n;

	version = kvm_ioctl_number(dev, KVM_GET_API_VERSION, 0);
	if (version != KVM_API_VERSION)
		return (fail(why, whylen, "/dev/kvm has API version %d, not %d",
		    version, KVM_API_VERSION));
	for (n = 0; n < NCAPS; n++) {
		has = kvm_ioctl_number(dev, KVM_CHECK_EXTENSION,
		    (unsigned long)probe_caps[n].cap);
		if (has <= 0 || (has & probe_caps[n].bits) !=
		    probe_caps[n].bits)
			return (fail(why, whylen, "KVM lacks %s (capability "
			    "%d), which Linux has from %s on",
			    probe_caps[n].name, probe_caps[n].cap,
			    probe_caps[n].since));
	}
	return (0);
}

/* A module's parameter: 1 on, 0 off, -1 not there. */
static int
parameter(const char *path)
{
	char c = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		return (-1);
	if (read(fd, &c, 1) != 1)
		c = 0;
	close(fd);
	return (c == 'Y' || c == '1');
}

static int
probe_nesting(char *why, size_t whylen)
{
	bool known = false;
	size_t n;
	int on;

	for (n = 0; n < NNESTED; n++) {
		on = parameter(probe_nested[n].path);
		known |= on != -1;
		if (on == 0)
			return (fail(why, whylen, "KVM has no %s here (%s)",
			    probe_nested[n].what, probe_nested[n].path));
	}
	/* Without /sys nobody knows, and the test guest decides. */
	if (!known && access("/sys/module/kvm", F_OK) == 0)
		return (fail(why, whylen, "this KVM uses neither VMX nor SVM "
		    "(there is no module kvm_intel or kvm_amd)"));
	return (0);
}

static int
probe(char *why, size_t whylen)
{
	int dev, error;

	if ((error = probe_open(&dev, why, whylen)) != 0)
		return (error);
	if ((error = probe_capabilities(dev, why, whylen)) == 0 &&
	    (error = probe_nesting(why, whylen)) == 0 && !kvm_cache_has(dev)) {
		error = kvm_guest_test(dev, why, whylen);
		if (error == 0)
			kvm_cache_put(dev);
	}
	(void)kvm_sys.ks_close(dev);
	return (error);
}

/* This process's answer; a failure is looked into again each time. */
static pthread_mutex_t probe_lock = PTHREAD_MUTEX_INITIALIZER;
static bool probe_passed;	/* under it */

int
kvm_probe(char *why, size_t whylen)
{
	int error = 0;

	pthread_mutex_lock(&probe_lock);
	if (!probe_passed) {
		error = probe(why, whylen);
		probe_passed = error == 0;
	}
	pthread_mutex_unlock(&probe_lock);
	return (error);
}

void
kvm_describe(char *buf, size_t len)
{
	int dev, faults;
	size_t n;
	const char *name = "unknown";

	if (len == 0)
		return;
	buf[0] = '\0';
	if ((dev = kvm_sys.ks_open("/dev/kvm")) == -1)
		return;
	for (n = 0; n < NNESTED; n++)
		if (parameter(probe_nested[n].path) == 1)
			name = probe_nested[n].what[0] == 'n' ?
			    "SVM, nested paging" : "VMX, EPT";
	faults = kvm_ioctl_number(dev, KVM_CHECK_EXTENSION,
	    KVM_CAP_MEMORY_FAULT_INFO);
	snprintf(buf, len, "hardware: %s\nAPI version: %d\n"
	    "addresses of protection faults: %s\n", name,
	    kvm_ioctl_number(dev, KVM_GET_API_VERSION, 0),
	    faults > 0 ? "told" : "not told by this kernel");
	(void)kvm_sys.ks_close(dev);
}
