/*
 * The words of vm.conf(5): files, included files, macros and continued lines
 * as one stream of tokens, which knows nothing of the grammar.
 *
 * By hand and not by flex: the value of a macro is read again as text, and a
 * word may begin in it and end in the file.
 *
 * One thread.
 */
#ifndef CONFIG_LEX_H
#define CONFIG_LEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define LEX_TEXT_MAX	4095	/* of a word: PATH_MAX - 1 */
#define LEX_FILE_MAX	(1u << 20)
#define LEX_DEPTH_MAX	16	/* files that include each other */
#define LEX_FILES_MAX	256	/* altogether */
#define LEX_MACROS_MAX	1024

/* Where something is said; the name lives as long as the lexer. */
struct lex_place {
	const char	*lp_file;
	unsigned	 lp_line;
};

enum lex_kind {
	LEX_END,	/* of everything, or in the middle of a block */
	LEX_LINE,	/* the end of a line */
	LEX_MARK,	/* '{', '}', ',', '=' or another that stands alone */
	LEX_WORD,
	LEX_QUOTED,
	LEX_BAD		/* err says what it is */
};

struct lex_token {
	enum lex_kind	 lt_kind;
	char		 lt_mark;
	char		*lt_text;	/* of words; the caller's */
	struct lex_place lt_place;
};

struct lex;

/* NULL and errno. */
struct lex *lex_new(void);
void	lex_free(struct lex *);
/* The file is read next, to its end. -1 with a line in err, without place. */
int	lex_push(struct lex *, const char *path, struct err *);
/* -1 with a line in err: a bad name, no memory. One that is kept cannot be
 * changed later, and trying to is no mistake. */
int	lex_define(struct lex *, const char *name, const char *value, bool keep,
	    struct err *);
void	lex_next(struct lex *, struct lex_token *, struct err *);
/* What was read last, for messages. */
const char *lex_near(const struct lex *);
/* Reads on until no more than so many blocks are open. */
void	lex_leave_blocks(struct lex *, unsigned depth);

#endif
