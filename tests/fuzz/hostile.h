/*
 * Hostile guests: memory, registers and code that a random number generator
 * made up, plausible enough to get somewhere. Everything follows from the
 * struct hostile's seed. One thread at a time a struct hostile.
 */
#ifndef HOSTILE_H
#define HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <machine/vmmvar.h>

/* Guest memory: three ranges, with nothing in between and behind. */
#define HOSTILE_RANGES	3
struct hostile_range {
	uint64_t	hr_gpa;
	size_t		hr_size;
	uint8_t		*hr_host;
};

struct hostile {
	uint64_t	h_rng;
	unsigned	h_mode;		/* of the state made last */
	struct hostile_range h_range[HOSTILE_RANGES];
};

/* Maps the memory, with unmapped pages around each range; false: errno. */
bool	hostile_map(struct hostile *);
void	hostile_unmap(struct hostile *);

uint64_t hostile_random(struct hostile *);
/* Below n. */
unsigned hostile_below(struct hostile *, unsigned n);
/* An address, physical or linear, that is worth trying. */
uint64_t hostile_address(struct hostile *);
/* A page of guest memory: its guest-physical address. */
uint64_t hostile_page(struct hostile *);
uint8_t	*hostile_host(struct hostile *, uint64_t gpa);
/* An MSR's number. */
uint32_t hostile_msr(struct hostile *);

/* Instructions. */
void	hostile_code(struct hostile *, uint8_t *, size_t);
/* All of memory, and registers that go with it: *r holds those of a VCPU after
 * power-on. The engine may still refuse them. */
void	hostile_guest(struct hostile *, struct vcpu_reg_state *r);
/* The registers alone, for memory that was made for this h_mode. */
void	hostile_registers(struct hostile *, struct vcpu_reg_state *r,
	    unsigned mode);
/* An address of memory where a change matters, and changes there: as many bytes
 * as it returns, within the page. */
uint64_t hostile_target(struct hostile *);
size_t	hostile_scribble(struct hostile *, uint64_t gpa);

#endif
