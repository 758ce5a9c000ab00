/*
 * The codec of a machine's state (state.h). A part:
 *
 *	 0	24	name, padded with NUL
 *	24	u32	index
 *	28	u32	version
 *	32	u64	length of what follows
 *	40	...	fields, and parts of its own
 */
#include "base/state.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PART_LENGTH	32	/* offset in a part's head */
#define PART_HEAD	40

void
state_save(struct state *s)
{
	memset(s, 0, sizeof(*s));
}

void
state_load(struct state *s, const void *data, size_t size)
{
	memset(s, 0, sizeof(*s));
	s->s_loading = true;
	s->s_data = (uint8_t *)(uintptr_t)data;	/* only read */
	s->s_size = size;
}

void
state_free(struct state *s)
{
	if (!s->s_loading)
		free(s->s_data);
	s->s_data = NULL;
	s->s_size = s->s_room = 0;
}

/* --- errors ---------------------------------------------------------------- */

void
state_fail(struct state *s, int error, const char *why)
{
	const struct state_part *sp;

	if (s->s_error != 0)
		return;
	s->s_error = error;
	if (s->s_depth == 0) {
		err_set(&s->s_err, "the state of the machine: %s", why);
		return;
	}
	sp = &s->s_part[s->s_depth - 1];
	err_set(&s->s_err, "the state of %s %u: %s", sp->sp_name,
	    sp->sp_index, why);
}

void
state_bad(struct state *s, const char *why)
{
	state_fail(s, EINVAL, why);
}

/* --- bytes ----------------------------------------------------------------- */

static void
put(struct state *s, const void *data, size_t len)
{
	size_t room = s->s_room != 0 ? s->s_room : 16384;
	uint8_t *p;

	while (room - s->s_size < len)
		room *= 2;
	if (room != s->s_room) {
		if ((p = realloc(s->s_data, room)) == NULL) {
			state_fail(s, ENOMEM, "no memory to save it");
			return;
		}
		s->s_data = p;
		s->s_room = room;
	}
	memcpy(s->s_data + s->s_size, data, len);
	s->s_size += len;
}

/* Where the fields at hand have to end. */
static size_t
limit(const struct state *s)
{
	return (s->s_depth > 0 ? s->s_part[s->s_depth - 1].sp_end : s->s_size);
}

static bool
get(struct state *s, void *data, size_t len)
{
	if (len > limit(s) - s->s_at) {
		state_bad(s, "it is too short");
		return (false);
	}
	memcpy(data, s->s_data + s->s_at, len);
	s->s_at += len;
	return (true);
}

/* --- parts ----------------------------------------------------------------- */

static unsigned
part_save(struct state *s, struct state_part *sp, unsigned version)
{
	const uint32_t words[2] = { sp->sp_index, version };
	const uint64_t length = 0;	/* not yet known */

	put(s, sp->sp_name, sizeof(sp->sp_name));
	put(s, words, sizeof(words));
	put(s, &length, sizeof(length));
	sp->sp_start = s->s_size;
	return (version);
}

static unsigned
part_load(struct state *s, struct state_part *sp, unsigned version)
{
	const struct state_part *want = sp;
	char name[STATE_NAME_MAX], why[96];
	uint32_t words[2];
	uint64_t length;
	size_t end;

	s->s_depth--;		/* the head is the outer part's */
	end = limit(s);
	if (end - s->s_at < PART_HEAD) {
		s->s_depth++;
		state_bad(s, "it is not there");
		return (0);
	}
	get(s, name, sizeof(name));
	get(s, words, sizeof(words));
	get(s, &length, sizeof(length));
	s->s_depth++;
	if (memcmp(name, want->sp_name, sizeof(name)) != 0 ||
	    words[0] != want->sp_index) {
		state_bad(s, "another part is in its place");
		return (0);
	}
	if (words[1] == 0 || words[1] > version) {
		snprintf(why, sizeof(why), "it is of version %" PRIu32
		    ", and not older than %u as all that is known here",
		    words[1], version + 1);
		state_bad(s, why);
		return (0);
	}
	if (length > end - s->s_at) {
		state_bad(s, "it is longer than what is there");
		return (0);
	}
	sp->sp_start = s->s_at;
	sp->sp_end = s->s_at + (size_t)length;
	return (words[1]);
}

unsigned
state_begin(struct state *s, const char *name, unsigned index,
    unsigned version)
{
	struct state_part *sp;

	assert(s->s_depth < STATE_DEPTH && strlen(name) < STATE_NAME_MAX &&
	    version > 0);
	if (s->s_error != 0) {
		s->s_depth++;
		return (0);
	}
	sp = &s->s_part[s->s_depth++];
	memset(sp, 0, sizeof(*sp));
	memcpy(sp->sp_name, name, strlen(name));
	sp->sp_index = index;
	return (s->s_loading ? part_load(s, sp, version) :
	    part_save(s, sp, version));
}

void
state_end(struct state *s)
{
	const struct state_part *sp;
	uint64_t length;

	assert(s->s_depth > 0);
	sp = &s->s_part[s->s_depth - 1];
	if (s->s_error == 0 && s->s_loading) {
		if (s->s_at != sp->sp_end)
			state_bad(s, "it is too long");
	} else if (s->s_error == 0) {
		length = s->s_size - sp->sp_start;
		memcpy(s->s_data + sp->sp_start - (PART_HEAD - PART_LENGTH),
		    &length, sizeof(length));
	}
	s->s_depth--;
}

void
state_finish(struct state *s)
{
	assert(s->s_depth == 0);
	if (state_loaded(s) && s->s_at != s->s_size)
		state_bad(s, "there is more than was asked for");
}

/* --- fields ---------------------------------------------------------------- */

/* An integer of that size, at most max. */
static void
field(struct state *s, void *value, size_t size, uint64_t max)
{
	uint64_t loaded = 0;

	if (s->s_error != 0)
		return;
	if (!s->s_loading)
		put(s, value, size);
	else if (get(s, &loaded, size)) {
		if (loaded > max)
			state_bad(s, "a value is out of range");
		else
			memcpy(value, &loaded, size);
	}
}

void
state_u8(struct state *s, uint8_t *value)
{
	field(s, value, sizeof(*value), UINT8_MAX);
}

void
state_u16(struct state *s, uint16_t *value)
{
	field(s, value, sizeof(*value), UINT16_MAX);
}

void
state_u32(struct state *s, uint32_t *value)
{
	field(s, value, sizeof(*value), UINT32_MAX);
}

void
state_u64(struct state *s, uint64_t *value)
{
	field(s, value, sizeof(*value), UINT64_MAX);
}

void
state_i64(struct state *s, int64_t *value)
{
	field(s, value, sizeof(*value), UINT64_MAX);
}

void
state_bool(struct state *s, bool *value)
{
	uint8_t byte = *value;

	field(s, &byte, sizeof(byte), 1);
	*value = byte != 0;
}

void
state_u8_max(struct state *s, uint8_t *value, uint8_t max)
{
	field(s, value, sizeof(*value), max);
}

void
state_u16_max(struct state *s, uint16_t *value, uint16_t max)
{
	field(s, value, sizeof(*value), max);
}

void
state_u32_max(struct state *s, uint32_t *value, uint32_t max)
{
	field(s, value, sizeof(*value), max);
}

/* An integer of that size, with no bits but these. */
static void
register_bits(struct state *s, void *value, size_t size, uint64_t bits)
{
	uint64_t v = 0;

	memcpy(&v, value, size);
	field(s, &v, size, UINT64_MAX);
	if ((v & ~bits) != 0)
		state_bad(s, "a register has bits that it cannot have");
	else
		memcpy(value, &v, size);
}

void
state_u8_bits(struct state *s, uint8_t *value, uint8_t bits)
{
	register_bits(s, value, sizeof(*value), bits);
}

void
state_u16_bits(struct state *s, uint16_t *value, uint16_t bits)
{
	register_bits(s, value, sizeof(*value), bits);
}

void
state_u32_bits(struct state *s, uint32_t *value, uint32_t bits)
{
	register_bits(s, value, sizeof(*value), bits);
}

void
state_bytes(struct state *s, void *data, size_t len)
{
	if (s->s_error != 0)
		return;
	if (s->s_loading)
		(void)get(s, data, len);
	else
		put(s, data, len);
}

void
state_same(struct state *s, const char *what, uint64_t value)
{
	uint64_t loaded = value;
	char why[128];

	state_u64(s, &loaded);
	if (s->s_error != 0 || loaded == value)
		return;
	snprintf(why, sizeof(why), "its %s is %" PRIu64 ", and %" PRIu64
	    " here", what, loaded, value);
	state_bad(s, why);
}

/* As bytes with their length before them. */
void
state_same_text(struct state *s, const char *what, const char *text)
{
	char loaded[256] = "", why[600];
	uint16_t len = (uint16_t)strnlen(text, sizeof(loaded) - 1);
	const uint16_t mine = len;
	unsigned i;

	memcpy(loaded, text, len);
	state_u16_max(s, &len, sizeof(loaded) - 1);
	state_bytes(s, loaded, len);
	if (s->s_error != 0)
		return;
	loaded[len] = '\0';
	if (len == mine && memcmp(loaded, text, len) == 0)
		return;
	for (i = 0; i < len; i++)	/* it goes to a terminal */
		if (loaded[i] < ' ' || loaded[i] > '~')
			loaded[i] = '?';
	snprintf(why, sizeof(why), "its %s is \"%s\", and \"%s\" here", what,
	    loaded, text);
	state_bad(s, why);
}
