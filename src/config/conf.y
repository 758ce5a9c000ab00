/*
 * The grammar of vm.conf(5), and the words that it knows. What they mean is in
 * parse.c and parse_vm.c.
 *
 * A mistake costs the line or the block that it is in; reading goes on behind
 * it. The lexer counts the blocks, so that what follows is not taken for
 * something else.
 */
%code {
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/parse.h"

#define YYLLOC_DEFAULT(current, rhs, n)					\
	((current) = (n) != 0 ? YYRHSLOC(rhs, 1) : YYRHSLOC(rhs, 0))
}

%code requires {
#include "config/parse.h"
}

%define api.prefix {conf_yy}
%define api.pure full
%define api.location.type {struct lex_place}
%define api.token.prefix {T_}
%define parse.error custom
%define parse.lac full
%locations
%param { struct parse *p }

%union {
	char			*text;
	unsigned		 number;
	bool			 flag;
}

%code {
static int conf_yylex(CONF_YYSTYPE *, CONF_YYLTYPE *, struct parse *);
static void conf_yyerror(const CONF_YYLTYPE *, struct parse *, const char *);
}

%token END 0		"end of file"
%token LINE		"end of line"
%token <text> WORD	"a name, number or text"
%token AGENTX ALLOW APPEND BOOT BOOTFILE CDROM CPUS DELAY DEVICE DISABLE DISK
%token DOWN ENABLE ENGINE FORMAT FORWARD GROUP INCLUDE INET6 INITRD INSTANCE
%token INTERFACE INTERFACES LLADDR LOCAL LOCKED MEMORY MTU NAT NET NETWORK
%token OWNER PARALLEL PREFIX RDOMAIN SOCKET STAGGERED START SWITCH TFTP UP VM

%type <text> text optional_text optional_format
%type <number> device allowed allowed_word
%type <flag> local locked

%destructor { free($$); } <text>

%%

file:
	%empty
|	file statement
;

statement:
	LINE
|	include LINE
|	macro LINE
|	host LINE
|	vm LINE
|	switch LINE
|	error LINE		{ lex_leave_blocks(p->p_lex, 0); yyerrok; }
;

include:
	INCLUDE text		{ parse_include(p, &@1, $2); }
;

macro:
	WORD '=' text		{ parse_macro(p, &@1, $1, $3); }
;

text:
	WORD
|	text WORD		{ $$ = parse_join(p, &@1, $1, $2); }
;

optional_text:
	%empty			{ $$ = NULL; }
|	text
;

/* --- for the whole host */

host:
	LOCAL PREFIX text	{ parse_prefix(p, &@1, $3); }
|	LOCAL INET6		{ parse_prefix6(p, &@1, NULL); }
|	LOCAL INET6 PREFIX text	{ parse_prefix6(p, &@1, $4); }
|	SOCKET OWNER text
	{
		parse_socket(p, &@1, parse_owner(p, &@3, $3));
	}
|	STAGGERED START PARALLEL WORD DELAY WORD
	{
		unsigned parallel, delay;

		parallel = parse_number(p, &@4, $4, "parallel", 1, 1024);
		delay = parse_number(p, &@6, $6, "delay", 1, 86400);
		parse_staggered(p, &@1, parallel, delay);
	}
|	AGENTX optional_text
	{
		parse_warning(p, &@1, "\"agentx\" does nothing here");
		free($2);
	}
;

/* --- a switch */

switch:
	switch_head '{' switch_options switch_last '}'
				{ parse_switch_end(p); }
;

switch_head:
	SWITCH text		{ parse_switch_begin(p, &@1, $2); }
;

switch_options:
	%empty
|	switch_options LINE
|	switch_options switch_option LINE
|	switch_options error LINE
				{ lex_leave_blocks(p->p_lex, 1); yyerrok; }
;

switch_last:
	%empty
|	switch_option
|	error			{ yyerrok; }
;

switch_option:
	ENABLE			{ p->p_switch->cs_enable = CONFIG_YES; }
|	DISABLE			{ p->p_switch->cs_enable = CONFIG_NO; }
|	UP			{ p->p_switch->cs_up = CONFIG_YES; }
|	DOWN			{ p->p_switch->cs_up = CONFIG_NO; }
|	NAT			{ p->p_switch->cs_nat = CONFIG_YES; }
|	LOCKED LLADDR		{ p->p_switch->cs_locked = true; }
|	GROUP text
	{
		parse_ifname(p, &@2, &p->p_switch->cs_group, $2, "group");
	}
|	INTERFACE text
	{
		parse_ifname(p, &@2, &p->p_switch->cs_interface, $2,
		    "interface");
	}
|	RDOMAIN text
	{
		parse_rdomain(p, &@2, &p->p_switch->cs_rdomain, $2);
	}
|	MTU text		{ parse_mtu(p, &@2, &p->p_switch->cs_mtu, $2); }
;

/* --- a VM */

vm:
	vm_head '{' vm_options vm_last '}'
				{ parse_vm_end(p); }
;

vm_head:
	VM text			{ parse_vm_begin(p, &@1, $2, NULL); }
|	VM text INSTANCE text	{ parse_vm_begin(p, &@1, $2, $4); }
;

vm_options:
	%empty
|	vm_options LINE
|	vm_options vm_option LINE
|	vm_options error LINE	{ lex_leave_blocks(p->p_lex, 1); yyerrok; }
;

vm_last:
	%empty
|	vm_option
|	error			{ yyerrok; }
;

vm_option:
	ENABLE			{ p->p_vm->cv_enable = CONFIG_YES; }
|	DISABLE			{ p->p_vm->cv_enable = CONFIG_NO; }
|	MEMORY text		{ parse_memory(p, &@2, $2); }
|	CPUS text
	{
		if (parse_once(p, &@1, p->p_vm->cv_cpus != 0, "cpus"))
			p->p_vm->cv_cpus = parse_number(p, &@2, $2, "cpus", 1,
			    CONFIG_CPUS_MAX);
		else
			free($2);
	}
|	DISK text optional_format
				{ parse_disk(p, &@2, $2, $3); }
|	CDROM text
	{
		parse_path(p, &@2, &p->p_vm->cv_cdrom, $2, "cdrom", false);
	}
|	BOOT text
	{
		parse_path(p, &@2, &p->p_vm->cv_boot, $2, "boot", true);
	}
|	INITRD text
	{
		parse_path(p, &@2, &p->p_vm->cv_initrd, $2, "initrd", true);
	}
|	APPEND text
	{
		parse_text(p, &@2, &p->p_vm->cv_append, $2, "append");
	}
|	ENGINE text
	{
		parse_text(p, &@2, &p->p_vm->cv_engine, $2, "engine");
	}
|	BOOT DEVICE device
	{
		if (parse_once(p, &@1, p->p_vm->cv_boot_device !=
		    CONFIG_BOOT_UNSAID, "boot device"))
			p->p_vm->cv_boot_device = $3;
	}
|	OWNER text		{ p->p_vm->cv_owner = parse_owner(p, &@2, $2); }
|	INTERFACES text
	{
		if (parse_once(p, &@1, p->p_vm->cv_interfaces != 0 ||
		    p->p_vm->cv_no_interfaces, "interfaces")) {
			p->p_vm->cv_interfaces = parse_number(p, &@2, $2,
			    "interfaces", 0, CONFIG_NICS_MAX);
			p->p_vm->cv_no_interfaces =
			    p->p_vm->cv_interfaces == 0;
		} else {
			free($2);
		}
	}
|	nic
|	ALLOW INSTANCE '{' allowed_lines '}'
|	ALLOW INSTANCE allowed	{ p->p_vm->cv_allow |= $3; }
;

device:
	DISK			{ $$ = CONFIG_BOOT_DISK; }
|	CDROM			{ $$ = CONFIG_BOOT_CDROM; }
|	NET			{ $$ = CONFIG_BOOT_NET; }
;

optional_format:
	%empty			{ $$ = NULL; }
|	FORMAT text		{ $$ = $2; }
;

allowed_lines:
	%empty
|	allowed_lines LINE
|	allowed_lines ','
|	allowed_lines allowed_word
				{ p->p_vm->cv_allow |= $2; }
|	allowed_lines error LINE
				{ lex_leave_blocks(p->p_lex, 2); yyerrok; }
;

allowed:
	allowed_word
|	allowed ',' allowed_word
				{ $$ = $1 | $3; }
;

allowed_word:
	BOOT			{ $$ = CONFIG_ALLOW_BOOT; }
|	MEMORY			{ $$ = CONFIG_ALLOW_MEMORY; }
|	INTERFACE		{ $$ = CONFIG_ALLOW_INTERFACE; }
|	DISK			{ $$ = CONFIG_ALLOW_DISK; }
|	CDROM			{ $$ = CONFIG_ALLOW_CDROM; }
|	INSTANCE		{ $$ = CONFIG_ALLOW_INSTANCE; }
|	OWNER text
	{
		p->p_vm->cv_allow_owner = parse_owner(p, &@2, $2);
		$$ = 0;
	}
;

/* --- an interface of a VM */

nic:
	nic_head		{ parse_nic_end(p); }
|	nic_head nic_options	{ parse_nic_end(p); }
|	nic_head '{' nic_lines '}'
				{ parse_nic_end(p); }
;

nic_head:
	local INTERFACE optional_text
				{ parse_nic_begin(p, &@2, $1, $3); }
;

local:
	%empty			{ $$ = false; }
|	LOCAL			{ $$ = true; }
;

nic_options:
	nic_option
|	nic_options nic_option
|	nic_options ',' nic_option
;

nic_lines:
	%empty
|	nic_lines LINE
|	nic_lines ','
|	nic_lines nic_option
|	nic_lines error LINE	{ lex_leave_blocks(p->p_lex, 2); yyerrok; }
;

nic_option:
	UP			{ p->p_nic->cn_up = CONFIG_YES; }
|	DOWN			{ p->p_nic->cn_up = CONFIG_NO; }
|	SWITCH text
	{
		parse_text(p, &@2, &p->p_nic->cn_switch, $2, "switch");
	}
|	GROUP text
	{
		parse_ifname(p, &@2, &p->p_nic->cn_group, $2, "group");
	}
|	RDOMAIN text		{ parse_rdomain(p, &@2, &p->p_nic->cn_rdomain, $2); }
|	MTU text		{ parse_mtu(p, &@2, &p->p_nic->cn_mtu, $2); }
|	locked LLADDR optional_text
				{ parse_lladdr(p, &@2, $1, $3); }
|	NETWORK text		{ parse_network(p, &@2, $2); }
|	FORWARD WORD WORD WORD WORD
				{ parse_forward(p, &@2, $2, $3, $4, $5); }
|	TFTP text
	{
		parse_path(p, &@2, &p->p_nic->cn_tftp, $2, "tftp",
		    true);
	}
|	BOOTFILE text
	{
		parse_text(p, &@2, &p->p_nic->cn_bootfile, $2, "bootfile");
	}
;

locked:
	%empty			{ $$ = false; }
|	LOCKED			{ $$ = true; }
;

%%

static const struct keyword {
	const char	*k_word;
	int		 k_token;
	yysymbol_kind_t	 k_symbol;
} keywords[] = {
#define KEYWORD(word, token)	{ word, T_##token, YYSYMBOL_##token }
	KEYWORD("agentx", AGENTX),
	KEYWORD("allow", ALLOW),
	KEYWORD("append", APPEND),
	KEYWORD("boot", BOOT),
	KEYWORD("bootfile", BOOTFILE),
	KEYWORD("cdrom", CDROM),
	KEYWORD("cpus", CPUS),
	KEYWORD("delay", DELAY),
	KEYWORD("device", DEVICE),
	KEYWORD("disable", DISABLE),
	KEYWORD("disk", DISK),
	KEYWORD("down", DOWN),
	KEYWORD("enable", ENABLE),
	KEYWORD("engine", ENGINE),
	KEYWORD("format", FORMAT),
	KEYWORD("forward", FORWARD),
	KEYWORD("group", GROUP),
	KEYWORD("include", INCLUDE),
	KEYWORD("inet6", INET6),
	KEYWORD("initrd", INITRD),
	KEYWORD("instance", INSTANCE),
	KEYWORD("interface", INTERFACE),
	KEYWORD("interfaces", INTERFACES),
	KEYWORD("lladdr", LLADDR),
	KEYWORD("local", LOCAL),
	KEYWORD("locked", LOCKED),
	KEYWORD("memory", MEMORY),
	KEYWORD("mtu", MTU),
	KEYWORD("nat", NAT),
	KEYWORD("net", NET),
	KEYWORD("network", NETWORK),
	KEYWORD("owner", OWNER),
	KEYWORD("parallel", PARALLEL),
	KEYWORD("prefix", PREFIX),
	KEYWORD("rdomain", RDOMAIN),
	KEYWORD("socket", SOCKET),
	KEYWORD("staggered", STAGGERED),
	KEYWORD("start", START),
	KEYWORD("switch", SWITCH),
	KEYWORD("tftp", TFTP),
	KEYWORD("up", UP),
	KEYWORD("vm", VM),
};
#define KEYWORDS	(sizeof(keywords) / sizeof(keywords[0]))

static int
conf_yylex(CONF_YYSTYPE *value, CONF_YYLTYPE *place, struct parse *p)
{
	struct lex_token t;
	struct err err;
	size_t i;

	lex_next(p->p_lex, &t, &err);
	*place = t.lt_place;
	switch (t.lt_kind) {
	case LEX_END:
		return (T_END);
	case LEX_LINE:
		return (T_LINE);
	case LEX_MARK:
		/* an undefined one is an error of its own kind */
		return (strchr("{},=", t.lt_mark) != NULL ? t.lt_mark :
		    (int)T_CONF_YYUNDEF);
	case LEX_WORD:
		for (i = 0; i < KEYWORDS; i++)
			if (strcmp(keywords[i].k_word, t.lt_text) == 0) {
				free(t.lt_text);
				return (keywords[i].k_token);
			}
		/* FALLTHROUGH */
	case LEX_QUOTED:
		value->text = t.lt_text;
		return (T_WORD);
	case LEX_BAD:
		break;
	}
	parse_mistake(p, place, "%s, near \"%s\"", err.e_text,
	    lex_near(p->p_lex));
	return (T_CONF_YYerror);	/* which has been told */
}

static const char *
symbol_name(yysymbol_kind_t symbol)
{
	size_t i;

	for (i = 0; i < KEYWORDS; i++)
		if (keywords[i].k_symbol == symbol)
			return (keywords[i].k_word);
	return (yysymbol_name(symbol));
}

/* "near "token": expected a, b or c" */
static int
yyreport_syntax_error(const yypcontext_t *context, struct parse *p)
{
	yysymbol_kind_t expected[KEYWORDS + 8];
	char list[400] = "";
	size_t at = 0;
	int n, i, len;

	n = yypcontext_expected_tokens(context, expected,
	    sizeof(expected) / sizeof(expected[0]));
	for (i = 0; i < n; i++) {
		len = snprintf(list + at, sizeof(list) - at, "%s%s", i == 0 ?
		    ": expected " : i == n - 1 ? " or " : ", ",
		    symbol_name(expected[i]));
		if (len < 0 || (size_t)len >= sizeof(list) - at)
			break;
		at += (size_t)len;
	}
	parse_mistake(p, yypcontext_location(context),
	    "syntax error near \"%s\"%s", lex_near(p->p_lex), list);
	return (0);
}

/* What is no matter of syntax: memory. */
static void
conf_yyerror(const CONF_YYLTYPE *place, struct parse *p, const char *what)
{
	parse_mistake(p, place, "%s", what);
}
