/*
 * libFuzzer's way in: FUZZ names the function.
 */
#include "../fuzzers.h"

int	LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	FUZZ(data, len);
	return (0);
}
