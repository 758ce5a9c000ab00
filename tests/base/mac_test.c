/*
 * base/mac: what is an address of a station, and what is not.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mac.h"

static void
test_good(void **unused)
{
	static const uint8_t want[6] = { 0xfe, 0xe1, 0xbb, 0x0d, 0x90, 0x0a };
	char text[MAC_TEXT];
	uint8_t mac[6];

	(void)unused;
	assert_int_equal(mac_parse("fe:E1:bB:0d:90:0A", mac), 0);
	assert_memory_equal(mac, want, sizeof(want));
	mac_text(mac, text);
	assert_string_equal(text, "fe:e1:bb:0d:90:0a");
	assert_int_equal(mac_parse("00:00:00:00:00:00", mac), 0);
}

static void
test_bad(void **unused)
{
	static const char *const bad[] = {
		"", "1", "fe:e1:bb:d1:23", "fe:e1:bb:d1:23:4",
		"fe:e1:bb:d1:23:450", "fe:e1:bb:d1:23:45 ",
		"fe:e1:bb:d1:23:4g", "fe:e1:bb:d1:23-45", "fe:e1:bb:d1::3:45",
		/* what scanf(3) takes for numbers */
		" e:e1:bb:d1:23:45", "fe:+1:bb:d1:23:45", "fe:-1:bb:d1:23:45",
		"fe:e1:0x:d1:23:45", "fe:e1: b: 1: 3: 5",
		/* a group's, and all stations' */
		"01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff"
	};
	static const uint8_t before[6] = { 2, 3, 4, 5, 6, 7 };
	uint8_t mac[6];
	size_t i;

	(void)unused;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		memcpy(mac, before, sizeof(mac));
		if (mac_parse(bad[i], mac) == 0)
			fail_msg("\"%s\" is taken", bad[i]);
		assert_memory_equal(mac, before, sizeof(mac));
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
