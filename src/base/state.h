/*
 * What a machine is made of, said and read back: a codec for the state of its
 * parts.
 *
 * A struct state either saves or loads. A part has one function, such as
 * i8042_state(struct i8042 *, struct state *), which names each of its fields
 * once and goes the same way for both, so that the two cannot drift apart:
 *
 *	state_begin(s, "i8042", 0, 1);
 *	state_u8(s, &k->k_mode);
 *	state_bool(s, &k->k_full);
 *	state_end(s);
 *
 * 1. The first error stays: nothing is saved or loaded after it, and a field
 *    keeps the value that it had. s_err says in one line which part it was.
 * 2. What is loaded is hostile. A field that is an index, a count or an enum
 *    is loaded with its limit; what several fields promise each other the part
 *    checks before it takes any of them over, and says state_bad().
 * 3. A part is framed by its name, an index among those of that name, its
 *    version and its length. Parts are loaded in the order in which they were
 *    saved. Another name, a newer version, a part that is longer or shorter
 *    than its fields: an error.
 * 4. A part that gets a field more gets a newer version; it loads the older
 *    ones by asking what state_begin() returned.
 * 5. Moments are those of the host's monotonic clock and its TSC, as they are:
 *    a state is loaded where it was saved, and time has gone on.
 *
 * Integers are little-endian. Any thread, one at a time.
 */
#ifndef BASE_STATE_H
#define BASE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define STATE_NAME_MAX	24	/* with its NUL */
#define STATE_DEPTH	4	/* parts within parts */

struct state {
	bool		 s_loading;	/* else saving */
	int		 s_error;	/* errno value; 0: all is well */
	struct err	 s_err;		/* what went wrong, if s_error */
	uint8_t		*s_data;	/* saving: ours */
	size_t		 s_size;	/* bytes in it */
	size_t		 s_room;	/* saving: allocated */
	size_t		 s_at;		/* loading: the next byte */
	unsigned	 s_depth;
	struct state_part {
		char	 sp_name[STATE_NAME_MAX];
		unsigned sp_index;
		size_t	 sp_start;	/* of its fields */
		size_t	 sp_end;	/* loading */
	}		 s_part[STATE_DEPTH];
};

/* Saves into memory of its own, which state_free() ends. */
void	state_save(struct state *);
/* Loads from memory that is borrowed. */
void	state_load(struct state *, const void *, size_t);
void	state_free(struct state *);

/* A part's begin; returns the version of what is saved or loaded: when loading
 * it may be older than the one given, 1 or more. 0 after an error. */
unsigned state_begin(struct state *, const char *name, unsigned index,
	    unsigned version);
void	state_end(struct state *);
/* Loading is over: nothing may be left. */
void	state_finish(struct state *);

void	state_u8(struct state *, uint8_t *);
void	state_u16(struct state *, uint16_t *);
void	state_u32(struct state *, uint32_t *);
void	state_u64(struct state *, uint64_t *);
void	state_i64(struct state *, int64_t *);
void	state_bool(struct state *, bool *);
void	state_bytes(struct state *, void *, size_t);
/* With a limit, which belongs to what is valid. */
void	state_u8_max(struct state *, uint8_t *, uint8_t max);
void	state_u16_max(struct state *, uint16_t *, uint16_t max);
void	state_u32_max(struct state *, uint32_t *, uint32_t max);
/* A register, which has these bits and no others. */
void	state_u8_bits(struct state *, uint8_t *, uint8_t bits);
void	state_u16_bits(struct state *, uint16_t *, uint16_t bits);
void	state_u32_bits(struct state *, uint32_t *, uint32_t bits);
/* What may not differ from what is there: the configuration. what: its name
 * for people. */
void	state_same(struct state *, const char *what, uint64_t value);
void	state_same_text(struct state *, const char *what, const char *);

/* What was loaded makes no sense: EINVAL, and why. */
void	state_bad(struct state *, const char *why);
/* The part cannot be saved or loaded for a reason of the host's. */
void	state_fail(struct state *, int error, const char *why);

static inline bool
state_ok(const struct state *s)
{
	return (s->s_error == 0);
}

/* Loading, and all well: what was loaded is to be put to work. */
static inline bool
state_loaded(const struct state *s)
{
	return (s->s_loading && s->s_error == 0);
}

#endif
