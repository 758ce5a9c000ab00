/*
 * An engine that plays a script, to test what the monitor makes of an engine's
 * exits and gives it at entries. It follows engine.h's contract: completion,
 * then injection, then a kick that came first, then the window, then the
 * script; with the script at its end it runs "guest code" until kicked.
 *
 * A test defines engine_table with &fake_engine in it.
 */
#ifndef TESTS_FAKE_ENGINE_H
#define TESTS_FAKE_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>

#include "engine/engine.h"

enum fake_op {
	FAKE_EXIT,	/* leave with fs_run's out part */
	FAKE_STI,	/* set IF */
	FAKE_CLI,	/* clear IF */
	FAKE_SPIN,	/* run, through all kicks, until interrupted */
	FAKE_WRMSR,	/* fs_msr, fs_value; counts a #GP when refused */
	FAKE_RDMSR,
	FAKE_MMIO,	/* fs_run.er_mmio; leaves if the monitor has it not */
	FAKE_CPUID,	/* leaf fs_msr, to fake_cpuid */
};

struct fake_step {
	enum fake_op	fs_op;
	struct engine_run fs_run;
	uint32_t	fs_msr;
	uint64_t	fs_value;
};

struct engine_vcpu {
	const struct engine_host *fv_host;
	void		*fv_arg;
	unsigned	 fv_id;
	struct vcpu_reg_state fv_regs;
	atomic_bool	 fv_kick;
	atomic_bool	 fv_inside;	/* in eo_run */
	atomic_uint	 fv_overlaps;	/* contract violations of the caller */
};

/* What the monitor gave at an entry. One that only a kick ended, and that gave
 * nothing, is not recorded. */
struct fake_entry {
	int		fe_inject;
	bool		fe_nmi, fe_window, fe_complete;
	uint64_t	fe_data;
};

#define FAKE_ENTRIES	64

/* The world's one script, played by VCPU 0 of any VM. */
extern const struct fake_step *fake_script;
extern size_t fake_nsteps;
extern atomic_size_t fake_at;		/* next step */
extern struct fake_entry fake_entries[FAKE_ENTRIES];
extern atomic_size_t fake_nentries;
extern atomic_size_t fake_nruns;	/* entries of all VCPUs since ever */
extern uint64_t fake_result;		/* of the last RDMSR or MMIO read */
extern unsigned fake_faults;		/* #GP from MSRs */
extern struct engine_cpuid fake_cpuid;
extern atomic_int fake_vms, fake_vcpus;	/* alive */
extern int fake_reset_error, fake_run_error, fake_probe_error;
extern int fake_share_error;
extern uint64_t fake_written_gpa, fake_written_size;
extern bool fake_writes_reported;
extern struct {
	uint64_t gpa;
	size_t	 size;
	int	 prot;
} fake_protected;
extern struct {
	const void *host;
	size_t	 size;
	int	 fd;
	uint64_t offset;
} fake_shared;
extern int64_t fake_tsc_offset;

/* Starts a script over. */
void	fake_play(const struct fake_step *, size_t n);
extern const struct engine_ops fake_engine;

#endif
