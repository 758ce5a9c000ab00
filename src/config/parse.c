/*
 * Reading vm.conf(5): mistakes, what holds for the whole host, switches; and
 * config_read(). See parse.h.
 */
#include "config/parse.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INET6_BITS_MAX	64	/* of the prefix for local interfaces */

/* --- mistakes ------------------------------------------------------------------ */

static void
make_line(struct err *line, const struct lex_place *lp, const char *kind,
    const char *fmt, va_list ap)
{
	char text[sizeof(line->e_text)];

	vsnprintf(text, sizeof(text), fmt, ap);
	/* what is cut off is the end */
	if (lp->lp_line == 0)
		err_set(line, "%.200s: %s%s", lp->lp_file, kind, text);
	else
		err_set(line, "%.200s:%u: %s%s", lp->lp_file, lp->lp_line,
		    kind, text);
}

void
parse_mistake(struct parse *p, const struct lex_place *lp, const char *fmt, ...)
{
	struct err line;
	va_list ap;

	va_start(ap, fmt);
	make_line(&line, lp, "", fmt, ap);
	va_end(ap);
	if (p->p_mistakes++ == 0) {
		p->p_first = line;
		return;
	}
	if (p->p_mistakes > PARSE_MISTAKES_MAX || p->p_more == NULL)
		return;
	p->p_more(p->p_arg, line.e_text);
	if (p->p_mistakes == PARSE_MISTAKES_MAX)
		p->p_more(p->p_arg, "there are more mistakes");
}

void
parse_warning(struct parse *p, const struct lex_place *lp, const char *fmt, ...)
{
	struct err line;
	va_list ap;

	if (p->p_more == NULL)
		return;
	va_start(ap, fmt);
	make_line(&line, lp, "warning: ", fmt, ap);
	va_end(ap);
	p->p_more(p->p_arg, line.e_text);
}

/* --- words ----------------------------------------------------------------------- */

char *
parse_join(struct parse *p, const struct lex_place *lp, char *a, char *b)
{
	char *both = NULL;

	if (a != NULL && b != NULL) {
		if (strlen(a) + strlen(b) > LEX_TEXT_MAX)
			parse_mistake(p, lp, "a text is longer than %d bytes",
			    LEX_TEXT_MAX);
		else if (asprintf(&both, "%s%s", a, b) == -1) {
			both = NULL;
			parse_mistake(p, lp, "no memory");
		}
	}
	free(b);
	if (both == NULL)
		return (a);
	free(a);
	return (both);
}

static int
number(const char *text, unsigned long max, unsigned long *n)
{
	char *end;

	errno = 0;
	*n = strtoul(text, &end, 10);
	if (!isdigit((unsigned char)text[0]) || *end != '\0' || errno != 0 ||
	    *n > max)
		return (-1);
	return (0);
}

unsigned
parse_number(struct parse *p, const struct lex_place *lp, char *text,
    const char *what, unsigned min, unsigned max)
{
	unsigned long n;

	if (number(text, max, &n) == -1 || n < min) {
		parse_mistake(p, lp, "\"%.64s\": expected a number from %u to "
		    "%u for \"%s\"", text, min, max, what);
		n = min;
	}
	free(text);
	return ((unsigned)n);
}

/* Users and groups by name or number; UINT32_MAX - 1 is the last one. */
static int
find_user(const char *name, uid_t *uid)
{
	struct passwd pw, *found = NULL;
	unsigned long n;
	char buf[4096];

	if (getpwnam_r(name, &pw, buf, sizeof(buf), &found) == 0 &&
	    found != NULL) {
		*uid = pw.pw_uid;
		return (0);
	}
	if (number(name, UINT32_MAX - 1, &n) == -1)
		return (-1);
	*uid = (uid_t)n;
	return (0);
}

/* A group may have many members. */
static int
find_group(const char *name, gid_t *gid)
{
	const size_t size = 256 * 1024;
	struct group gr, *found = NULL;
	unsigned long n;
	char *buf;

	if ((buf = malloc(size)) != NULL &&
	    getgrnam_r(name, &gr, buf, size, &found) == 0 && found != NULL)
		*gid = gr.gr_gid;
	free(buf);
	if (found != NULL)
		return (0);
	if (number(name, UINT32_MAX - 1, &n) == -1)
		return (-1);
	*gid = (gid_t)n;
	return (0);
}

struct config_owner
parse_owner(struct parse *p, const struct lex_place *lp, char *text)
{
	struct config_owner co = { 0 };
	char *group = strchr(text, ':');

	if (group != NULL)
		*group++ = '\0';
	if (text[0] != '\0') {
		co.co_user_set = find_user(text, &co.co_user) == 0;
		if (!co.co_user_set)
			parse_mistake(p, lp, "no user is called \"%.64s\"",
			    text);
	}
	if (group != NULL && group[0] != '\0') {
		co.co_group_set = find_group(group, &co.co_group) == 0;
		if (!co.co_group_set)
			parse_mistake(p, lp, "no group is called \"%.64s\"",
			    group);
	}
	if (text[0] == '\0' && (group == NULL || group[0] == '\0'))
		parse_mistake(p, lp, "an owner is a user, user:group or "
		    ":group");
	free(text);
	return (co);
}

/* --- the host ---------------------------------------------------------------------- */

void
parse_include(struct parse *p, const struct lex_place *lp, char *path)
{
	char *full = NULL;
	struct err err;

	parse_path(p, lp, &full, path, "include", false);
	if (full != NULL && lex_push(p->p_lex, full, &err) == -1)
		parse_mistake(p, lp, "%s", err.e_text);
	free(full);
}

void
parse_macro(struct parse *p, const struct lex_place *lp, char *name,
    char *value)
{
	struct err err;

	if (lex_define(p->p_lex, name, value, false, &err) == -1)
		parse_mistake(p, lp, "%s", err.e_text);
	free(name);
	free(value);
}

/* An address and its length; NULL and a mistake if it has none. */
static char *
split_prefix(struct parse *p, const struct lex_place *lp, char *text,
    unsigned max, unsigned *bits)
{
	char *slash = strchr(text, '/');
	unsigned long n;

	if (slash == NULL || number(slash + 1, max, &n) == -1 || n == 0) {
		parse_mistake(p, lp, "\"%.64s\": expected a prefix, as an "
		    "address and a length from 1 to %u behind a slash", text,
		    max);
		return (NULL);
	}
	*slash = '\0';
	*bits = (unsigned)n;
	return (text);
}

void
parse_prefix(struct parse *p, const struct lex_place *lp, char *text)
{
	struct config *cf = p->p_config;
	struct in_addr in;
	unsigned bits;

	/* an interface of the first VM needs 4 addresses of 256 */
	if (parse_once(p, lp, p->p_prefix_said, "local prefix") &&
	    split_prefix(p, lp, text, 24, &bits) != NULL) {
		if (inet_pton(AF_INET, text, &in) != 1)
			parse_mistake(p, lp, "\"%.64s\" is no IPv4 address",
			    text);
		else {
			cf->cf_prefix_bits = bits;
			cf->cf_prefix = ntohl(in.s_addr) &
			    (uint32_t)(UINT64_MAX << (32 - bits));
		}
	}
	p->p_prefix_said = true;
	free(text);
}

void
parse_prefix6(struct parse *p, const struct lex_place *lp, char *text)
{
	struct config *cf = p->p_config;
	unsigned bits, i;

	if (!parse_once(p, lp, p->p_inet6_said, "local inet6")) {
		free(text);
		return;
	}
	p->p_inet6_said = true;
	cf->cf_inet6 = true;
	if (text == NULL)
		return;
	if (split_prefix(p, lp, text, INET6_BITS_MAX, &bits) != NULL) {
		if (inet_pton(AF_INET6, text, cf->cf_prefix6) != 1)
			parse_mistake(p, lp, "\"%.64s\" is no IPv6 address",
			    text);
		else {
			cf->cf_prefix6_bits = bits;
			for (i = bits; i < 128; i++)
				cf->cf_prefix6[i / 8] &=
				    (uint8_t)~(0x80u >> i % 8);
		}
	}
	free(text);
}

void
parse_socket(struct parse *p, const struct lex_place *lp,
    struct config_owner owner)
{
	if (parse_once(p, lp, p->p_socket_said, "socket owner"))
		p->p_config->cf_socket = owner;
	p->p_socket_said = true;
}

void
parse_staggered(struct parse *p, const struct lex_place *lp, unsigned parallel,
    unsigned delay)
{
	struct config *cf = p->p_config;

	if (!parse_once(p, lp, cf->cf_staggered, "staggered start"))
		return;
	cf->cf_staggered = true;
	cf->cf_parallel = parallel;
	cf->cf_delay = delay;
}

/* --- switches ------------------------------------------------------------------- */

static void
switch_drop(struct parse *p)
{
	struct config_switch *cs = p->p_switch;

	free(cs->cs_name);
	free(cs->cs_interface);
	free(cs->cs_group);
	memset(cs, 0, sizeof(*cs));
}

void
parse_switch_begin(struct parse *p, const struct lex_place *lp, char *name)
{
	struct err err;

	switch_drop(p);
	p->p_place = *lp;
	p->p_switch->cs_line = lp->lp_line;
	if (config_name_check(name, &err) == -1)
		parse_mistake(p, lp, "%s", err.e_text);
	else if (config_find_switch(p->p_config, name) != NULL)
		parse_mistake(p, lp, "there is a switch \"%s\" already", name);
	p->p_switch->cs_name = name;
}

/* Adds what stands in p_switch_now; -1: no memory. */
static int
switch_add(struct parse *p)
{
	struct config *cf = p->p_config;
	struct config_switch **list, *cs;

	list = reallocarray(cf->cf_switch, cf->cf_nswitches + 1,
	    sizeof(struct config_switch *));
	if (list == NULL)
		return (-1);
	cf->cf_switch = list;
	if ((cs = malloc(sizeof(*cs))) == NULL)
		return (-1);
	*cs = p->p_switch_now;
	memset(&p->p_switch_now, 0, sizeof(p->p_switch_now));
	list[cf->cf_nswitches++] = cs;
	return (0);
}

void
parse_switch_end(struct parse *p)
{
	const struct config_switch *cs = p->p_switch;

	if (cs->cs_interface != NULL && cs->cs_nat == CONFIG_YES)
		parse_mistake(p, &p->p_place, "switch \"%s\": a bridge of the "
		    "host has no \"nat\"; leave \"interface\" or \"nat\" out",
		    cs->cs_name);
	if (cs->cs_interface == NULL &&
	    (cs->cs_group != NULL || cs->cs_up == CONFIG_NO))
		parse_warning(p, &p->p_place, "switch \"%s\": \"%s\" does "
		    "nothing without \"interface\"", cs->cs_name,
		    cs->cs_group != NULL ? "group" : "down");
	if (p->p_config->cf_nswitches == PARSE_SWITCHES_MAX)
		parse_mistake(p, &p->p_place, "there are more than %d switches",
		    PARSE_SWITCHES_MAX);
	else if (switch_add(p) == -1)
		parse_mistake(p, &p->p_place, "no memory");
	switch_drop(p);
}

/* --- all of it -------------------------------------------------------------------- */

static void
read_files(struct parse *p, const char *path, const struct config_macro *cm,
    size_t n)
{
	const struct lex_place command_line = { "-D", 0 };
	struct err err;

	for (; n > 0; cm++, n--)
		if (lex_define(p->p_lex, cm->cm_name, cm->cm_value, true,
		    &err) == -1) {
			parse_mistake(p, &command_line, "%s", err.e_text);
			return;
		}
	if (lex_push(p->p_lex, path, &err) == -1) {
		p->p_mistakes++;
		p->p_first = err;
		return;
	}
	if (conf_yyparse(p) != 0 && p->p_mistakes == 0) {
		p->p_mistakes++;
		err_set(&p->p_first, "%s: cannot be read", path);
	}
	parse_vm_finish(p);
}

int
config_read(struct config *cf, const char *path,
    const struct config_macro *macros, size_t nmacros, bool exists,
    void (*more)(void *, const char *), void *arg, struct err *err)
{
	struct parse *p;
	int ret = 0;

	config_init(cf);
	if ((p = calloc(1, sizeof(*p))) == NULL ||
	    (p->p_lex = lex_new()) == NULL) {
		free(p);
		return (err_sys(err, "%s", path));
	}
	p->p_config = cf;
	p->p_exists = exists;
	p->p_more = more;
	p->p_arg = arg;
	p->p_vm = &p->p_vm_now;
	p->p_nic = &p->p_spare_nic;
	p->p_switch = &p->p_switch_now;
	read_files(p, path, macros, nmacros);
	if (p->p_mistakes != 0) {
		config_free(cf);
		ret = err_set(err, "%s", p->p_first.e_text);
	}
	/* the block that a file's end was in */
	parse_vm_drop(p);
	switch_drop(p);
	lex_free(p->p_lex);
	free(p);
	return (ret);
}
