/*
 * What a file of vm.conf(5) says, taken down word by word: the grammar (conf.y)
 * calls these as it recognizes things, and they check what the words mean.
 *
 * 1. Texts that are passed as char * are taken: kept or freed.
 * 2. A mistake is told and counted; reading goes on, so that all are told.
 *
 * One thread.
 */
#ifndef CONFIG_PARSE_H
#define CONFIG_PARSE_H

#include "config/config.h"
#include "config/lex.h"

#define PARSE_VMS_MAX		512
#define PARSE_SWITCHES_MAX	256
#define PARSE_MISTAKES_MAX	50	/* that are told */

struct parse {
	struct lex	*p_lex;
	struct config	*p_config;
	bool		 p_exists;	/* files that are named are looked for */
	struct config_vm p_vm_now;	/* whose block it is; else empty */
	struct config_vm *p_vm;		/* always that */
	struct config_nic *p_nic;	/* of it, or the spare one */
	struct config_nic p_spare_nic;	/* for one too many */
	struct config_switch p_switch_now;
	struct config_switch *p_switch;
	struct lex_place p_place;	/* of the block */
	struct lex_place p_vm_place[PARSE_VMS_MAX];
	bool		 p_prefix_said, p_inet6_said, p_socket_said;
	unsigned	 p_mistakes;
	struct err	 p_first;
	void		(*p_more)(void *, const char *);
	void		*p_arg;
};

/* The grammar: 0, or 1 or 2 if it ended early. */
int	conf_yyparse(struct parse *);

void	parse_mistake(struct parse *, const struct lex_place *,
	    const char *, ...) __attribute__((format(printf, 3, 4)));
void	parse_warning(struct parse *, const struct lex_place *,
	    const char *, ...) __attribute__((format(printf, 3, 4)));

/* Two texts as one; NULL and a mistake if that is too long. */
char	*parse_join(struct parse *, const struct lex_place *, char *, char *);
/* A number in its limits, or a mistake and min. */
unsigned parse_number(struct parse *, const struct lex_place *, char *,
	    const char *what, unsigned min, unsigned max);
struct config_owner parse_owner(struct parse *, const struct lex_place *,
	    char *);

/* --- of the host (parse.c) */

void	parse_include(struct parse *, const struct lex_place *, char *);
void	parse_macro(struct parse *, const struct lex_place *, char *name,
	    char *value);
void	parse_prefix(struct parse *, const struct lex_place *, char *);
/* NULL: any. */
void	parse_prefix6(struct parse *, const struct lex_place *, char *);
void	parse_socket(struct parse *, const struct lex_place *,
	    struct config_owner);
void	parse_staggered(struct parse *, const struct lex_place *,
	    unsigned parallel, unsigned delay);

/* --- of a switch (parse.c) */

void	parse_switch_begin(struct parse *, const struct lex_place *, char *);
void	parse_switch_end(struct parse *);

/* --- of a VM (parse_vm.c) */

void	parse_vm_begin(struct parse *, const struct lex_place *, char *name,
	    char *parent);
void	parse_vm_end(struct parse *);
/* Frees what stands in p_vm_now, the spare interface included. */
void	parse_vm_drop(struct parse *);
/* When all files are read: what VMs say of each other; the defaults. */
void	parse_vm_finish(struct parse *);
/* A member that is said once: is it new? */
bool	parse_once(struct parse *, const struct lex_place *, bool said,
	    const char *what);
void	parse_text(struct parse *, const struct lex_place *, char **member,
	    char *, const char *what);
/* must: the file is to be there. */
void	parse_path(struct parse *, const struct lex_place *, char **member,
	    char *, const char *what, bool must);
void	parse_disk(struct parse *, const struct lex_place *, char *path,
	    char *format);
void	parse_memory(struct parse *, const struct lex_place *, char *);
/* The name of an interface of the host or of a group of them. */
void	parse_ifname(struct parse *, const struct lex_place *, char **member,
	    char *, const char *what);
void	parse_rdomain(struct parse *, const struct lex_place *, unsigned *,
	    char *);

void	parse_mtu(struct parse *, const struct lex_place *, unsigned *, char *);

/* --- of an interface (parse_vm.c); name NULL: none */

void	parse_nic_begin(struct parse *, const struct lex_place *, bool local,
	    char *name);
void	parse_nic_end(struct parse *);
void	parse_lladdr(struct parse *, const struct lex_place *, bool locked,
	    char *);
void	parse_network(struct parse *, const struct lex_place *, char *);
void	parse_forward(struct parse *, const struct lex_place *,
	    char *protocol, char *from, char *to, char *port);

#endif
