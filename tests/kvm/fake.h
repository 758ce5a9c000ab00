/*
 * A KVM that exists in this process alone, in the place of the host's calls
 * (engine/kvm/sys.h): it keeps registers, plays exits from a script, counts
 * what is open, and fails any one call.
 */
#ifndef FAKE_H
#define FAKE_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

/* What a KVM_RUN comes to: fills the exit in and returns 0, or errno. */
typedef int	fake_exit(struct kvm_run *);

struct fake {
	/* set by the test */
	unsigned	f_fail;		/* the call of this number, from 1 */
	int		f_errno;	/* fails with that */
	unsigned long	f_lacks;	/* capability, or 0 */
	int		f_open_errno;
	fake_exit *const *f_script;	/* ends in NULL; then HLT */

	/* what happened */
	unsigned	f_calls;
	const char	*f_failed;	/* "ioctl", ...: the call that did */
	unsigned long	f_request;	/* and which */
	int		f_fds, f_maps;	/* open */
	unsigned	f_entries;	/* KVM_RUNs that executed something */
	unsigned	f_injected;	/* last vector */
	unsigned	f_nmis;
	uint64_t	f_tsc_offset;
	bool		f_pending;	/* an instruction is to be finished */

	/* its VCPU */
	struct kvm_run	*f_run;
	struct kvm_regs	f_regs;
	struct kvm_sregs2 f_sregs;
	struct kvm_vcpu_events f_events;
	struct kvm_debugregs f_debugregs;
	uint8_t		f_xsave[4096];
	uint64_t	f_xcr0;
	uint64_t	f_msr[64];
	uint32_t	f_msr_index[64];
	unsigned	f_nmsrs;
};

extern struct fake fake;

/* As after power-on, nothing open. */
void	fake_reset(void);

#endif
