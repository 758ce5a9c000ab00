/*
 * The words of vm.conf(5); see lex.h.
 *
 * 1. What is read is a stack: files, and on top perhaps a macro's value. A
 *    value holds no macros: those in it were put in when it was defined. It
 *    holds no end of a line either, so that a line that defines a macro has
 *    been read to the end of every value when the macro changes.
 * 2. Each file ends with the end of a line, and outside of blocks.
 */
#include "config/lex.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NEAR_MAX	32	/* of a word in a message */

struct file {
	char		*f_name;
	char		*f_text;
	size_t		 f_length, f_at;
	unsigned	 f_line;
	bool		 f_begun;	/* something stands in this line */
};

struct macro {
	char		*m_name, *m_value;
	bool		 m_keep;
	struct macro	*m_next;
};

struct lex {
	struct file	 l_file[LEX_FILES_MAX];	/* all, for their names */
	size_t		 l_nfiles;
	size_t		 l_stack[LEX_DEPTH_MAX];	/* of them: being read */
	size_t		 l_depth;
	const char	*l_value;	/* a macro's that is being read */
	struct macro	*l_macros;
	size_t		 l_nmacros;
	unsigned	 l_blocks;	/* that are open */
	bool		 l_ended;
	char		 l_near[NEAR_MAX * 4 + 8];
	char		 l_word[LEX_TEXT_MAX + 1];
};

struct lex *
lex_new(void)
{
	return (calloc(1, sizeof(struct lex)));
}

void
lex_free(struct lex *l)
{
	struct macro *m;
	size_t i;

	if (l == NULL)
		return;
	for (i = 0; i < l->l_nfiles; i++) {
		free(l->l_file[i].f_name);
		free(l->l_file[i].f_text);
	}
	while ((m = l->l_macros) != NULL) {
		l->l_macros = m->m_next;
		free(m->m_name);
		free(m->m_value);
		free(m);
	}
	free(l);
}

/* --- files ------------------------------------------------------------------- */

/* Reads all there is; -1 and errno, EFBIG if that is too much. */
static int
read_all(int fd, struct file *f)
{
	const size_t size = LEX_FILE_MAX + 1;
	ssize_t n;

	if ((f->f_text = malloc(size)) == NULL)
		return (-1);
	while ((n = read(fd, f->f_text + f->f_length, size - f->f_length)) !=
	    0) {
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1)
			return (-1);
		f->f_length += (size_t)n;
		if (f->f_length == size) {
			errno = EFBIG;
			return (-1);
		}
	}
	return (0);
}

static int
open_file(const char *path)
{
	struct stat st;
	int fd, flags;

	/* must not wait for somebody to open a pipe's other end */
	if ((fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)) == -1)
		return (-1);
	if (fstat(fd, &st) == -1)
		goto fail;
	if (S_ISDIR(st.st_mode) || S_ISBLK(st.st_mode)) {
		errno = S_ISDIR(st.st_mode) ? EISDIR : EFBIG;
		goto fail;
	}
	if (!S_ISREG(st.st_mode) && ((flags = fcntl(fd, F_GETFL)) == -1 ||
	    fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) == -1))
		goto fail;
	return (fd);
fail:
	flags = errno;
	close(fd);
	errno = flags;
	return (-1);
}

int
lex_push(struct lex *l, const char *path, struct err *err)
{
	struct file *f = &l->l_file[l->l_nfiles];
	int fd, ret, error;

	if (l->l_depth == LEX_DEPTH_MAX)
		return (err_set(err, "cannot include \"%.128s\": files include "
		    "each other more than %d deep; does one include itself?",
		    path, LEX_DEPTH_MAX));
	if (l->l_nfiles == LEX_FILES_MAX)
		return (err_set(err, "cannot include \"%.128s\": more than %d "
		    "files", path, LEX_FILES_MAX));
	if ((fd = open_file(path)) == -1)
		return (err_sys(err, "cannot read \"%.128s\"", path));
	memset(f, 0, sizeof(*f));
	f->f_line = 1;
	ret = read_all(fd, f);
	error = errno;
	close(fd);
	errno = error;
	if (ret == 0 && (f->f_name = strdup(path)) == NULL)
		ret = -1;
	if (ret == -1) {
		free(f->f_text);
		f->f_text = NULL;
		return (err_sys(err, "cannot read \"%.128s\"", path));
	}
	l->l_stack[l->l_depth++] = l->l_nfiles++;
	return (0);
}

static struct file *
top(struct lex *l)
{
	return (l->l_depth == 0 ? NULL :
	    &l->l_file[l->l_stack[l->l_depth - 1]]);
}

/* --- macros ------------------------------------------------------------------- */

static struct macro *
macro_find(struct lex *l, const char *name)
{
	struct macro *m;

	for (m = l->l_macros; m != NULL; m = m->m_next)
		if (strcmp(m->m_name, name) == 0)
			return (m);
	return (NULL);
}

static bool
is_name(int c)
{
	return (isalnum(c) || c == '_');
}

static struct macro *
macro_new(struct lex *l, const char *name, struct err *err)
{
	struct macro *m;
	const char *p;

	for (p = name; *p != '\0'; p++)
		if (!is_name((unsigned char)*p))
			break;
	if (p == name || *p != '\0') {
		err_set(err, "\"%.64s\" is no name of a macro; use letters, "
		    "digits and _", name);
		return (NULL);
	}
	if (l->l_nmacros == LEX_MACROS_MAX) {
		err_set(err, "there are more than %d macros", LEX_MACROS_MAX);
		return (NULL);
	}
	if ((m = calloc(1, sizeof(*m))) == NULL ||
	    (m->m_name = strdup(name)) == NULL) {
		err_sys(err, "macro \"%.64s\"", name);
		free(m);
		return (NULL);
	}
	l->l_nmacros++;
	m->m_next = l->l_macros;
	l->l_macros = m;
	return (m);
}

int
lex_define(struct lex *l, const char *name, const char *value, bool keep,
    struct err *err)
{
	struct macro *m = macro_find(l, name);
	const char *p;
	char *copy;

	for (p = value; *p != '\0'; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return (err_set(err, "the value of macro \"%.64s\" "
			    "has control characters", name));
	if (strlen(value) > LEX_TEXT_MAX)
		return (err_set(err, "the value of macro \"%.64s\" is longer "
		    "than %d bytes", name, LEX_TEXT_MAX));
	if (m != NULL && m->m_keep && !keep)
		return (0);
	if ((copy = strdup(value)) == NULL)
		return (err_sys(err, "macro \"%.64s\"", name));
	if (m == NULL && (m = macro_new(l, name, err)) == NULL) {
		free(copy);
		return (-1);
	}
	/* the value that was read last may be this one */
	if (l->l_value != NULL && l->l_value[0] == '\0')
		l->l_value = NULL;
	free(m->m_value);
	m->m_value = copy;
	m->m_keep = keep;
	return (0);
}

/* --- characters ----------------------------------------------------------------- */

/* The next one, EOF at the end of a file or value; nothing is taken. */
static int
peek(struct lex *l)
{
	const struct file *f = top(l);

	if (l->l_value != NULL && l->l_value[0] != '\0')
		return ((unsigned char)l->l_value[0]);
	if (f == NULL || f->f_at == f->f_length)
		return (EOF);
	return ((unsigned char)f->f_text[f->f_at]);
}

static void
take(struct lex *l)
{
	struct file *f = top(l);

	if (l->l_value != NULL && l->l_value[0] != '\0') {
		l->l_value++;
		return;
	}
	if (f->f_text[f->f_at] == '\n')
		f->f_line++;
	f->f_at++;
}

/* Is there a line's end behind a backslash, and so no end of a line? Takes
 * both then. */
static bool
take_continuation(struct lex *l)
{
	struct file *f = top(l);

	if (peek(l) != '\\' || (l->l_value != NULL && l->l_value[0] != '\0') ||
	    f->f_length - f->f_at < 2 || f->f_text[f->f_at + 1] != '\n')
		return (false);
	take(l);
	take(l);
	return (true);
}

static void
skip_blanks(struct lex *l)
{
	for (;;) {
		if (peek(l) == ' ' || peek(l) == '\t')
			take(l);
		else if (peek(l) == '#')
			/* a comment ends with its line, continued or not */
			while (peek(l) != '\n' && peek(l) != EOF)
				take(l);
		else if (!take_continuation(l))
			return;
	}
}

static bool
in_word(int c)
{
	return (c > ' ' && c != 0x7f && c != EOF &&
	    strchr("(){}!=#,\"'", c) == NULL);
}

/* --- tokens ---------------------------------------------------------------------- */

static void
set_near(struct lex *l, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	char *to = l->l_near;
	size_t n;

	for (n = 0; *p != '\0' && n < NEAR_MAX; n++, p++) {
		if (*p < ' ' || *p == 0x7f)
			to += sprintf(to, "\\%03o", *p);
		else
			*to++ = (char)*p;
	}
	strcpy(to, *p != '\0' ? "..." : "");
}

const char *
lex_near(const struct lex *l)
{
	return (l->l_near);
}

/* The end of a file: of its last line first, then of the file. */
static bool
end_of_file(struct lex *l, struct lex_token *t)
{
	struct file *f = top(l);

	if (f->f_begun) {
		f->f_begun = false;
		t->lt_kind = LEX_LINE;
		set_near(l, "end of file");
		return (true);
	}
	if (l->l_blocks > 0 || l->l_depth == 1) {
		l->l_ended = true;
		t->lt_kind = LEX_END;
		set_near(l, "end of file");
		return (true);
	}
	l->l_depth--;
	free(f->f_text);
	f->f_text = NULL;
	return (false);
}

static void
finish_word(struct lex *l, struct lex_token *t, enum lex_kind kind, size_t n,
    struct err *err)
{
	l->l_word[n] = '\0';
	set_near(l, l->l_word);
	if ((t->lt_text = strdup(l->l_word)) == NULL) {
		err_sys(err, "word");
		return;
	}
	t->lt_kind = kind;
}

/* Words that are too long are read to their end; one message is enough. */
static void
read_word(struct lex *l, struct lex_token *t, struct err *err)
{
	size_t n = 0;

	for (;;) {
		/* a backslash elsewhere is one */
		if (take_continuation(l))
			continue;
		if (!in_word(peek(l)))
			break;
		if (n < LEX_TEXT_MAX)
			l->l_word[n] = (char)peek(l);
		n++;
		take(l);
	}
	if (n > LEX_TEXT_MAX) {
		l->l_word[NEAR_MAX + 1] = '\0';
		set_near(l, l->l_word);
		err_set(err, "a word is longer than %d bytes", LEX_TEXT_MAX);
		return;
	}
	finish_word(l, t, LEX_WORD, n, err);
	if (peek(l) == '"' || peek(l) == '\'') {
		free(t->lt_text);
		t->lt_text = NULL;
		t->lt_kind = LEX_BAD;
		err_set(err, "a quote in the middle of a word");
		take(l);
	}
}

/* What follows a backslash in quotes; EOF if there is no more. */
static int
quoted_escape(struct lex *l, int quote)
{
	const int c = peek(l);

	if (c == quote || c == ' ' || c == '\t') {
		take(l);
		return (c);
	}
	return ('\\');
}

static void
read_quoted(struct lex *l, struct lex_token *t, int quote, struct err *err)
{
	const char *why = NULL;
	size_t n = 0;
	int c;

	while ((c = peek(l)) != quote) {
		if (c == EOF || c == '\n') {
			why = "a quote is not closed in its line";
			break;
		}
		if (take_continuation(l))
			continue;
		take(l);
		if (c == '\\')
			c = quoted_escape(l, quote);
		if (c < ' ' || c == 0x7f)
			why = "a control character in quotes";
		if (n == LEX_TEXT_MAX)
			why = "a text in quotes is too long";
		else
			l->l_word[n++] = (char)c;
	}
	if (c == quote)
		take(l);
	finish_word(l, t, LEX_QUOTED, n, err);
	if (why != NULL && t->lt_kind == LEX_QUOTED) {
		free(t->lt_text);
		t->lt_text = NULL;
		t->lt_kind = LEX_BAD;
		err_set(err, "%s", why);
	}
}

/* A macro is read in place of its name; -1 with a line in err. */
static int
read_macro(struct lex *l, struct err *err)
{
	const struct macro *m;
	size_t n = 0;

	while (is_name(peek(l)) && n < LEX_TEXT_MAX) {
		l->l_word[n++] = (char)peek(l);
		take(l);
	}
	l->l_word[n] = '\0';
	set_near(l, l->l_word);
	if (n == 0)
		return (err_set(err, "$ needs the name of a macro behind it"));
	if ((m = macro_find(l, l->l_word)) == NULL)
		return (err_set(err, "macro \"%.64s\" is not defined",
		    l->l_word));
	l->l_value = m->m_value;
	return (0);
}

static void
read_mark(struct lex *l, struct lex_token *t, int c, struct err *err)
{
	char text[2] = { (char)c, '\0' };

	take(l);
	set_near(l, c == '\n' ? "end of line" : text);
	if (c == '\n') {
		top(l)->f_begun = false;
		t->lt_kind = LEX_LINE;
		return;
	}
	if (c < ' ' || c == 0x7f) {
		err_set(err, c == 0 ? "a NUL byte" : c == '\r' ?
		    "a carriage return; lines end with a newline alone" :
		    "a control character");
		return;
	}
	if (c == '{')
		l->l_blocks++;
	else if (c == '}' && l->l_blocks > 0)
		l->l_blocks--;
	t->lt_kind = LEX_MARK;
	t->lt_mark = (char)c;
}

void
lex_next(struct lex *l, struct lex_token *t, struct err *err)
{
	struct file *f;
	int c;

	memset(t, 0, sizeof(*t));
	t->lt_kind = LEX_BAD;
	for (;;) {
		f = top(l);
		t->lt_place.lp_file = f->f_name;
		t->lt_place.lp_line = f->f_line;
		if (l->l_ended) {
			t->lt_kind = LEX_END;
			return;
		}
		skip_blanks(l);
		t->lt_place.lp_line = f->f_line;
		if ((c = peek(l)) == EOF) {
			if (end_of_file(l, t))
				return;
			continue;
		}
		f->f_begun = true;
		if (c == '$' && (l->l_value == NULL || l->l_value[0] == '\0')) {
			take(l);
			if (read_macro(l, err) == -1)
				return;
			continue;
		}
		break;
	}
	if (c == '"' || c == '\'') {
		take(l);
		read_quoted(l, t, c, err);
	} else if (in_word(c)) {
		read_word(l, t, err);
	} else {
		read_mark(l, t, c, err);
	}
}

void
lex_leave_blocks(struct lex *l, unsigned depth)
{
	struct lex_token t;
	struct err err;

	while (l->l_blocks > depth && !l->l_ended) {
		lex_next(l, &t, &err);
		free(t.lt_text);
	}
}
