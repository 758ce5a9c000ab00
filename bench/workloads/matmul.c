/*
 * The product of two matrices of doubles. Compiled twice: as for any amd64 and
 * without vectors, and, with MATMUL_AVX2, with AVX2 and FMA.
 */
#include <string.h>

#include "work.h"

#define N	256

struct matrices {
	double	m_a[N][N];
	double	m_b[N][N];
	double	m_c[N][N];
};

#ifdef MATMUL_AVX2
#define matmul_run	matmul_avx2_run
#else
void *
matmul_setup(const struct work *w)
{
	struct matrices *m = work_alloc(sizeof(*m));
	uint64_t seed = 88172645463325252u;
	int i, j;

	(void)w;
	for (i = 0; i < N; i++) {
		for (j = 0; j < N; j++) {
			m->m_a[i][j] = (double)(work_random(&seed) >> 40);
			m->m_b[i][j] = (double)(work_random(&seed) >> 40);
		}
	}
	return (m);
}
#endif

uint64_t
matmul_run(void *state, uint64_t n)
{
	struct matrices *m = state;
	uint64_t value = 0, bits;
	int i, j, k;

	while (n-- > 0) {
		memset(m->m_c, 0, sizeof(m->m_c));
		for (i = 0; i < N; i++)
			for (k = 0; k < N; k++)
				for (j = 0; j < N; j++)
					m->m_c[i][j] +=
					    m->m_a[i][k] * m->m_b[k][j];
	}
	for (i = 0; i < N; i++) {
		memcpy(&bits, &m->m_c[i][N - 1 - i], sizeof(bits));
		value = value * 31 + bits;
	}
	return (value);
}
