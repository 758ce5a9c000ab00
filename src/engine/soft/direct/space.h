/*
 * Guest address spaces as processes (space.c).
 */
#ifndef SOFT_DIRECT_SPACE_H
#define SOFT_DIRECT_SPACE_H

#include "engine/soft/direct/process.h"

struct cpu;

/* A piece of guest memory that is mapped: 4 KiB, or 2 MiB. */
struct extent {
	uint64_t	e_linear;
	uint64_t	e_gpa;
	uint8_t		e_rights;	/* ENGINE_*; 0: to be unmapped */
	bool		e_large;
};

/*
 * What stands in the process is what the guest's tables said when its TLB
 * could last have been filled: see space_sync().
 */
struct space {
	struct process	 s_process;
	uint64_t	 s_table;	/* CR3's address of the tables */
	uint64_t	 s_context;	/* m_context that the extents are of */
	unsigned	 s_retag;	/* d_retag that they are of */
	unsigned	 s_dead;	/* extents to be unmapped */
	struct extent	*s_extents;
	unsigned	 s_count, s_room;
	bool		 s_put_off;	/* s_call has to be made before it
					   runs, after all others */
	struct process_call s_call;
	uint32_t	*s_hash;	/* by linear page: index in s_extents + 1 */
	unsigned	 s_nhash;	/* a power of two */
	uint64_t	 s_used;	/* when last, for giving it up */
	uint64_t	 s_break[PROCESS_BREAKS];	/* linear; 0: none */
	struct {			/* code that could not be run, last */
		uint64_t page;
		unsigned times;
	} s_way;
	uint64_t	 s_fault;	/* where the guest's own was last, or 0 */
	/* what its owner thinks of it (direct.c) */
	bool		 s_wanted;
	bool		 s_reborn;	/* nearly all of it was unmapped: the
					   tables are another process's now */
	uint64_t	 s_not_before;	/* ns */
	uint64_t	 s_penalty;	/* ns */
	uint64_t	 s_ran, s_invested;	/* ns: in the process; mapping */
	int		 s_cpu;		/* where it is held, or -1 */
	bool		 s_xstate;	/* p_xstate is what was read last */
};

/* 0 or errno. Files: the VM's. */
int	space_new(struct space *, struct cpu *);
void	space_free(struct space *);
/*
 * Before the process runs: what the guest has told its TLB to forget is
 * unmapped, but for what is the same again. 0, or errno: the space is of no
 * use any more.
 */
int	space_sync(struct space *, struct cpu *);
/*
 * The process faulted at linear (fetch: on an instruction there): maps that
 * page and pages around it. 1: it may do more there when it runs, 0: it may
 * not, the guest's tables or the page are against it; or a negative errno.
 */
int	space_map(struct space *, struct cpu *, uint64_t linear, bool fetch);
/* Code in linear's page, which is not for the bare CPU, was in the way. */
void	space_in_way(struct space *, uint64_t linear);
/* The page at linear, or those of gpa's that allow any of rights, will go. */
void	space_forget(struct space *, uint64_t linear);
void	space_forget_gpa(struct space *, uint64_t gpa, unsigned rights);
/* Everything goes, now. */
int	space_clear(struct space *);

#endif
