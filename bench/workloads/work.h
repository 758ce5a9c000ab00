/*
 * A workload: something that a compiler's output does over and over. Each is
 * a row of the table in work.c.
 */
#ifndef BENCH_WORK_H
#define BENCH_WORK_H

#include <stdint.h>

struct work {
	const char	*w_name;
	/* Makes what the runs work on, untimed; may be NULL. */
	void		*(*w_setup)(const struct work *);
	/*
	 * Runs the workload so many times. What it returns depends on the
	 * workload alone: neither on how often nor on where it runs.
	 */
	uint64_t	(*w_run)(void *, uint64_t);
	uint64_t	w_size;		/* for the workload's use */
	uint64_t	w_units;	/* what one run counts for; 0: one */
};

/* A generator of numbers that is the same everywhere; 0 is no state. */
static inline uint64_t
work_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return (*state);
}

/* Memory, or the end of the program. */
void		*work_alloc(uint64_t);
void		 work_fail(const char *);

uint64_t	 fib_run(void *, uint64_t);
void		*qsort_setup(const struct work *);
uint64_t	 qsort_run(void *, uint64_t);
void		*matmul_setup(const struct work *);
uint64_t	 matmul_run(void *, uint64_t);
uint64_t	 matmul_avx2_run(void *, uint64_t);
void		*bytes_setup(const struct work *);
uint64_t	 fnv_run(void *, uint64_t);
uint64_t	 store_run(void *, uint64_t);
uint64_t	 copy_run(void *, uint64_t);
uint64_t	 memset_run(void *, uint64_t);
uint64_t	 memcpy_run(void *, uint64_t);
uint64_t	 strlen_run(void *, uint64_t);
void		*chase_setup(const struct work *);
uint64_t	 chase_run(void *, uint64_t);
uint64_t	 sha256_run(void *, uint64_t);
uint64_t	 bytecode_run(void *, uint64_t);
void		*tree_setup(const struct work *);
uint64_t	 tree_run(void *, uint64_t);
uint64_t	 getppid_run(void *, uint64_t);
void		*pipe_setup(const struct work *);
uint64_t	 pipe_run(void *, uint64_t);
uint64_t	 fault_run(void *, uint64_t);

#endif
