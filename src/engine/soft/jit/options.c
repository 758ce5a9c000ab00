/*
 * The soft engine's options: what follows "soft," (vmctl(8), --engine). Any
 * thread.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "engine/soft/jit/jit.h"

#define FLAG(word, field)	{ word, offsetof(struct jit_options, field), 1 }
#define NUMBER(word, field)	{ word, offsetof(struct jit_options, field), 0 }

/* A word that sets a flag, or word=number. */
static const struct option_row {
	const char	*or_word;
	size_t		 or_field;
	bool		 or_flag;
} option_rows[] = {
	FLAG("interp", jo_interp),
	FLAG("exact", jo_exact),
	FLAG("nochain", jo_nochain),
	FLAG("lockstep", jo_lockstep),
	FLAG("count", jo_count),
	FLAG("nobmi2", jo_nobmi2),
	FLAG("noavx", jo_noavx),
	FLAG("nofsgsbase", jo_nofsgsbase),
	FLAG("traces", jo_traces),
	FLAG("perf", jo_perf),
	FLAG("direct", jo_direct),
	NUMBER("insns", jo_insns),
	NUMBER("tlb", jo_tlb),
	NUMBER("flush", jo_flush),
	NUMBER("exits", jo_exits),
	NUMBER("cache", jo_cache),
	NUMBER("hot", jo_hot),
	NUMBER("tier", jo_tier),
};

/* One word of len bytes; is it an option? */
static bool
option_set(const char *word, size_t len, struct jit_options *jo)
{
	const struct option_row *r;
	const struct option_row *end = option_rows +
	    sizeof(option_rows) / sizeof(option_rows[0]);
	const char *eq = memchr(word, '=', len);
	size_t name = eq != NULL ? (size_t)(eq - word) : len;
	uint8_t *field;
	unsigned long n;
	unsigned number;
	char *rest;

	if (len == 3 && memcmp(word, "jit", 3) == 0) {
		jo->jo_interp = false;
		return (true);
	}
	for (r = option_rows; r < end; r++)
		if (strlen(r->or_word) == name &&
		    memcmp(r->or_word, word, name) == 0)
			break;
	if (r == end || r->or_flag != (eq == NULL))
		return (false);
	field = (uint8_t *)jo + r->or_field;
	if (r->or_flag) {
		*(bool *)(void *)field = true;
		return (true);
	}
	if (eq[1] < '0' || eq[1] > '9')
		return (false);
	errno = 0;
	n = strtoul(eq + 1, &rest, 10);
	if (errno != 0 || n > UINT32_MAX || rest != word + len)
		return (false);
	number = (unsigned)n;
	memcpy(field, &number, sizeof(number));
	return (true);
}

int
jit_options(const char *text, struct jit_options *jo, const char **bad)
{
	size_t len;

	memset(jo, 0, sizeof(*jo));
	if (text == NULL)
		return (0);
	for (; *text != '\0'; text += len + (text[len] == ',')) {
		len = strcspn(text, ",");
		if (!option_set(text, len, jo)) {
			*bad = text;
			return (EINVAL);
		}
	}
	if (jo->jo_lockstep)
		jo->jo_exact = jo->jo_nochain = true;
	return (0);
}
