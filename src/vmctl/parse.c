/*
 * The values of vmctl's options. Pure functions of their text; the line that
 * they leave in err on failure says what is accepted.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmctl/vmctl.h"

#define NS_PER_SECOND	1000000000ULL

int
parse_size(const char *word, uint64_t *bytes, struct err *err)
{
	static const char suffixes[] = "BKMGT";
	const char *suffix;
	unsigned shift = 0;
	uint64_t n;
	char *end;

	errno = 0;
	n = strtoull(word, &end, 10);
	if (!isdigit((unsigned char)word[0]) || errno != 0)
		return (err_set(err, "\"%s\" is no size; write one as 512M "
		    "or 2G", word));
	if (*end != '\0') {
		suffix = strchr(suffixes, toupper((unsigned char)*end));
		if (suffix == NULL || end[1] != '\0')
			return (err_set(err, "\"%s\" is no size; write one as "
			    "512M or 2G", word));
		shift = (unsigned)(suffix - suffixes) * 10;
	}
	if (n > UINT64_MAX >> shift)
		return (err_set(err, "%s is too large", word));
	*bytes = n << shift;
	return (0);
}

int
parse_number(const char *word, unsigned long min, unsigned long max,
    unsigned long *value, struct err *err)
{
	char *end;

	errno = 0;
	*value = strtoul(word, &end, 0);
	if (!isdigit((unsigned char)word[0]) || *end != '\0' || errno != 0 ||
	    *value < min || *value > max)
		return (err_set(err, "\"%s\" is no number from %lu to %lu",
		    word, min, max));
	return (0);
}

int
parse_seconds(const char *word, uint64_t *ns, struct err *err)
{
	uint64_t whole, fraction = 0, unit = NS_PER_SECOND;
	const char *p = word;
	char *end;

	errno = 0;
	whole = strtoull(p, &end, 10);
	if (!isdigit((unsigned char)*p) || errno != 0 ||
	    whole > UINT32_MAX)
		goto bad;
	p = end;
	if (*p == '.') {
		for (p++; isdigit((unsigned char)*p); p++) {
			unit /= 10;
			fraction += (uint64_t)(*p - '0') * unit;
		}
	}
	*ns = whole * NS_PER_SECOND + fraction;
	if (*p != '\0' || *ns == 0)
		goto bad;
	return (0);
bad:
	return (err_set(err, "\"%s\" is no time in seconds", word));
}

static int
parse_port(const char *word, uint16_t *port)
{
	char *end;
	unsigned long n;

	errno = 0;
	n = strtoul(word, &end, 10);
	if (!isdigit((unsigned char)word[0]) || *end != '\0' || errno != 0 ||
	    n < 1 || n > 65535)
		return (-1);
	*port = (uint16_t)n;
	return (0);
}

int
parse_forward(char *text, struct network_forward *f)
{
	char *host, *port, *guest;

	if (strncmp(text, "tcp:", 4) == 0)
		f->nf_udp = false;
	else if (strncmp(text, "udp:", 4) == 0)
		f->nf_udp = true;
	else
		return (-1);
	host = text + 4;
	port = strrchr(host, ':');
	guest = strrchr(host, '-');
	if (port == NULL || guest == NULL || guest < port)
		return (-1);
	*port++ = '\0';
	*guest++ = '\0';
	if (strlen(host) >= sizeof(f->nf_host))
		return (-1);
	strcpy(f->nf_host, host);
	if (parse_port(port, &f->nf_host_port) == -1)
		return (-1);
	return (parse_port(guest, &f->nf_guest_port));
}

int
parse_string(char **at, const char *value, struct err *err)
{
	if (*at != NULL)
		return (err_set(err, "it was given before"));
	if ((*at = strdup(value)) == NULL)
		return (err_sys(err, "no memory"));
	return (0);
}

int
parse_name(const char *name, struct err *err)
{
	size_t len = strlen(name);

	if (strspn(name, "abcdefghijklmnopqrstuvwxyz"
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_") != len ||
	    len == 0 || strchr(".-_", name[0]) != NULL)
		return (err_set(err, "\"%s\" is no name for a VM; use letters, "
		    "digits and . - _, a letter or digit first", name));
	if (strspn(name, "0123456789") == len)
		return (err_set(err, "\"%s\" would be taken for an id; "
		    "a VM's name needs a letter", name));
	if (len >= VMM_MAX_NAME_LEN)
		return (err_set(err, "the name is longer than %d characters",
		    VMM_MAX_NAME_LEN - 1));
	return (0);
}
