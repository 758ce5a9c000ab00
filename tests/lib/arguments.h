/*
 * Arguments of test programs that make their cases at random.
 */
#ifndef ARGUMENTS_H
#define ARGUMENTS_H

#include <stdint.h>

/* One of the pointers says where the value goes; "--NAME" alone sets *a_flag. */
struct argument {
	const char	*a_name;
	uint64_t	*a_u64;
	unsigned	*a_number;
	const char	**a_text;
	_Bool		*a_flag;
};

/* Reads what is given, in any order; ends the program with a line of usage if
 * it is anything else. The table ends with an a_name of NULL. */
void	arguments(int argc, char *argv[], const struct argument *);
/* A seed nobody has had yet. */
uint64_t new_seed(void);

#endif
