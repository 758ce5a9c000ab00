/*
 * vm.conf(5): what is read of each statement, mistakes by file, line and word,
 * limits, included files, macros.
 */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "config/config.h"

#define MIB	(UINT64_C(1) << 20)

static char dir[] = "/tmp/vmm-config-test.XXXXXX";
static char said[65536];	/* what "more" was told, a line each */

static void
more(void *arg, const char *line)
{
	const size_t n = strlen(said);

	(void)arg;
	snprintf(said + n, sizeof(said) - n, "%s\n", line);
}

static const char *
at(const char *name)
{
	static char path[4][256];
	static unsigned n;

	n = (n + 1) % 4;
	snprintf(path[n], sizeof(path[n]), "%s/%s", dir, name);
	return (path[n]);
}

static const char *
file_of(const char *name, const char *text, size_t len)
{
	const char *path = at(name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(text, 1, len, f), len);
	assert_int_equal(fclose(f), 0);
	return (path);
}

static int
read_text(struct config *cf, const char *text, struct err *err)
{
	said[0] = '\0';
	return (config_read(cf, file_of("vm.conf", text, strlen(text)), NULL,
	    0, true, more, NULL, err));
}

static void
good(struct config *cf, const char *text)
{
	struct err err;

	if (read_text(cf, text, &err) != 0)
		fail_msg("%s\n%s", text, err.e_text);
}

/* The one VM of a text. */
static const struct config_vm *
vm_of(struct config *cf, const char *text)
{
	good(cf, text);
	assert_int_equal(cf->cf_nvms, 1);
	return (cf->cf_vm[0]);
}

static void
test_host(void **state)
{
	struct config cf;

	(void)state;
	good(&cf, "");
	assert_int_equal(cf.cf_prefix, 0x64400000);
	assert_false(cf.cf_inet6 || cf.cf_staggered);
	config_free(&cf);
	good(&cf, "local prefix 10.9.8.7/16\nlocal inet6 prefix "
	    "fd12:3456::1/64\nsocket owner root:7\n"
	    "staggered start parallel 3 delay 9\nagentx context \"x\"");
	assert_int_equal(cf.cf_prefix, 0x0a090000);
	assert_int_equal(cf.cf_prefix_bits, 16);
	assert_true(cf.cf_inet6);
	assert_int_equal(cf.cf_prefix6_bits, 64);
	assert_memory_equal(cf.cf_prefix6,
	    "\xfd\x12\x34\x56\0\0\0\0\0\0\0\0\0\0\0", 16);
	assert_true(cf.cf_socket.co_user_set && cf.cf_socket.co_group_set);
	assert_int_equal(cf.cf_socket.co_group, 7);
	assert_true(cf.cf_staggered);
	assert_int_equal(cf.cf_parallel, 3);
	assert_int_equal(cf.cf_delay, 9);
	assert_non_null(strstr(said, "vm.conf:5: warning: \"agentx\""));
	config_free(&cf);
	good(&cf, "local inet6\n");
	assert_true(cf.cf_inet6);
	assert_int_equal(cf.cf_prefix6_bits, 0);
	config_free(&cf);
}

static void
test_vm(void **state)
{
	const struct config_vm *cv;
	struct config cf;

	(void)state;
	file_of("kernel", "", 0);
	cv = vm_of(&cf, "vm \"a.1\" {\n\tdisable\n\tmemory 1.5G\n\tcpus 2\n"
	    "\tdisk /d0\n\tdisk \"/d 1\" format raw\n\tdisk \"qcow2:/d2\" "
	    "format \"qcow2\"\n\tdisk nbd://h/x\n\tcdrom cd.iso\n"
	    "\tboot \"kernel\"\n\tinitrd kernel\n\tappend \"a \\\"b\\\"\" \\\n"
	    "\t    ' c'\n\tboot device cdrom\n\tinterfaces 2\n"
	    "\towner 5:6\n\tengine \"soft,jit\"\n}\n");
	assert_string_equal(cv->cv_name, "a.1");
	assert_int_equal(cv->cv_enable, CONFIG_NO);
	assert_int_equal(cv->cv_memory, 1536 * MIB);
	assert_int_equal(cv->cv_cpus, 2);
	assert_int_equal(cv->cv_ndisks, 4);
	assert_string_equal(cv->cv_disk[0].cd_path, "/d0");
	assert_int_equal(cv->cv_disk[0].cd_format, CONFIG_BY_CONTENT);
	assert_string_equal(cv->cv_disk[1].cd_path, "/d 1");
	assert_int_equal(cv->cv_disk[1].cd_format, CONFIG_RAW);
	assert_string_equal(cv->cv_disk[2].cd_path, "qcow2:/d2");
	assert_int_equal(cv->cv_disk[2].cd_format, CONFIG_QCOW2);
	assert_string_equal(cv->cv_disk[3].cd_path, "nbd://h/x");
	assert_string_equal(cv->cv_cdrom, at("cd.iso"));
	assert_string_equal(cv->cv_boot, at("kernel"));
	assert_string_equal(cv->cv_initrd, at("kernel"));
	assert_string_equal(cv->cv_append, "a \"b\" c");
	assert_int_equal(cv->cv_boot_device, CONFIG_BOOT_CDROM);
	assert_int_equal(cv->cv_nnics, 2);
	assert_int_equal(cv->cv_nic[1].cn_kind, CONFIG_NIC_USER);
	assert_int_equal(cv->cv_owner.co_user, 5);
	assert_int_equal(cv->cv_owner.co_group, 6);
	assert_string_equal(cv->cv_engine, "soft,jit");
	assert_int_equal(cv->cv_line, 1);
	config_free(&cf);
	/* none, although its template has some */
	good(&cf, "vm t { interfaces 2 }\nvm a instance t { interfaces 0 }\n"
	    "vm b instance t { }\n");
	assert_int_equal(cf.cf_vm[1]->cv_nnics, 0);
	assert_int_equal(cf.cf_vm[2]->cv_nnics, 2);
	config_free(&cf);
}

/* Both forms of an interface, in one line and in a block. */
static void
test_interfaces(void **state)
{
	static const char *const texts[] = {
		"vm a { interface tap { switch \"s\" , locked lladdr "
		    "fe:e1:bb:d1:00:0A, group g rdomain 0 down mtu 1400 }\n"
		    "local interface {\n\n}\ninterface tap7\ninterface {\n"
		    "network user\nforward udp 127.0.0.2:53 to 5353\n"
		    "forward tcp 2222 to 22\ntftp /srv, bootfile \"a b\"\n"
		    "}\n}\nswitch s { interface br0 }",
		"switch s {\ninterface br0\n}\nvm a {\ninterface tap switch s, locked lladdr "
		    "fe:e1:bb:d1:00:0a group g rdomain 0, mtu 1400 down\n"
		    "local interface\ninterface \"tap7\" up\ninterface network "
		    "user forward udp 127.0.0.2:53 to 5353, forward tcp 2222 "
		    "to 22 bootfile \"a b\" tftp \"/srv\" }",
	};
	const struct config_vm *cv;
	const struct config_nic *cn;
	struct config cf;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		cv = vm_of(&cf, texts[i]);
		assert_string_equal(said, "");
		assert_int_equal(cv->cv_nnics, 4);
		cn = cv->cv_nic;
		assert_int_equal(cn[0].cn_kind, CONFIG_NIC_SWITCH);
		assert_string_equal(cn[0].cn_switch, "s");
		assert_null(cn[0].cn_tap);
		assert_true(cn[0].cn_locked && cn[0].cn_mac_set);
		assert_memory_equal(cn[0].cn_mac, "\xfe\xe1\xbb\xd1\0\x0a", 6);
		assert_string_equal(cn[0].cn_group, "g");
		assert_int_equal(cn[0].cn_up, CONFIG_NO);
		assert_int_equal(cn[0].cn_mtu, 1400);
		assert_int_equal(cn[1].cn_mtu, 0);
		assert_int_equal(cn[1].cn_kind, CONFIG_NIC_LOCAL);
		assert_int_equal(cn[1].cn_up, CONFIG_YES);
		assert_int_equal(cn[2].cn_kind, CONFIG_NIC_TAP);
		assert_string_equal(cn[2].cn_tap, "tap7");
		assert_int_equal(cn[3].cn_kind, CONFIG_NIC_USER);
		assert_int_equal(cn[3].cn_nforwards, 2);
		assert_true(cn[3].cn_forward[0].nf_udp);
		assert_string_equal(cn[3].cn_forward[0].nf_host, "127.0.0.2");
		assert_int_equal(cn[3].cn_forward[0].nf_guest_port, 5353);
		assert_int_equal(cn[3].cn_forward[1].nf_host_port, 2222);
		assert_string_equal(cn[3].cn_tftp, "/srv");
		assert_string_equal(cn[3].cn_bootfile, "a b");
		config_free(&cf);
	}
}

static void
test_switches(void **state)
{
	const struct config_switch *cs;
	struct config cf;

	(void)state;
	good(&cf, "switch \"up\" {\n\tinterface br0\n\tgroup \"vms\"\n"
	    "\tlocked lladdr\n\trdomain 3\n\tdisable\n\tdown\n\tmtu 1280\n}\n"
	    "switch own { nat }\nvm a { interface { switch \"none\" }\n}\n");
	assert_int_equal(cf.cf_nswitches, 2);
	cs = config_find_switch(&cf, "up");
	assert_string_equal(cs->cs_interface, "br0");
	assert_string_equal(cs->cs_group, "vms");
	assert_true(cs->cs_locked);
	assert_int_equal(cs->cs_rdomain, 3);
	assert_int_equal(cs->cs_mtu, 1280);
	assert_int_equal(cs->cs_enable, CONFIG_NO);
	assert_int_equal(cs->cs_up, CONFIG_NO);
	assert_int_equal(cs->cs_line, 1);
	cs = config_find_switch(&cf, "own");
	assert_null(cs->cs_interface);
	assert_int_equal(cs->cs_nat, CONFIG_YES);
	assert_non_null(strstr(said, ":5: warning: \"rdomain\""));
	assert_non_null(strstr(said, ":11: warning: VM \"a\": there is no "
	    "switch \"none\""));
	assert_null(strstr(said, "does nothing for"));
	config_free(&cf);
	/* what is not for switches of ours, nor for interfaces on them */
	good(&cf, "switch own {\n\tdown\n}\nswitch two {\n\tgroup g\n}\n"
	    "vm a {\n\tinterface { switch own, group g }\n}\n"
	    "vm b {\n\tinterface tap { group g, down }\n}\n"
	    "vm c {\n\tlocal interface { down }\n}\n");
	assert_non_null(strstr(said, ":1: warning: switch \"own\": \"down\" "
	    "does nothing"));
	assert_non_null(strstr(said, ":4: warning: switch \"two\": \"group\" "
	    "does nothing"));
	assert_non_null(strstr(said, ":7: warning: VM \"a\": \"group\" does "
	    "nothing"));
	assert_null(strstr(said, "VM \"b\""));
	assert_non_null(strstr(said, ":13: warning: VM \"c\": \"down\" does "
	    "nothing"));
	config_free(&cf);
}

static void
test_instances(void **state)
{
	const struct config_vm *cv;
	struct config cf;

	(void)state;
	good(&cf, "vm t { memory 64M\ndisk /t\ndisable\n"
	    "interface { switch s lladdr fe:e1:bb:d1:00:01 }\n"
	    "allow instance { boot, memory\n disk owner 30:40\n}\n"
	    "allow instance cdrom, instance, interface }\n"
	    "switch s { }\n"
	    "vm i instance t { disk /i }\n");
	cv = config_find_vm(&cf, "t");
	assert_int_equal(cv->cv_allow, 0x3f);
	assert_int_equal(cv->cv_allow_owner.co_user, 30);
	assert_int_equal(cv->cv_allow_owner.co_group, 40);
	cv = config_find_vm(&cf, "i");
	assert_string_equal(cv->cv_parent, "t");
	assert_int_equal(cv->cv_enable, CONFIG_YES);
	assert_int_equal(cv->cv_memory, 64 * MIB);
	assert_int_equal(cv->cv_ndisks, 1);
	assert_string_equal(cv->cv_disk[0].cd_path, "/i");
	assert_string_equal(cv->cv_nic[0].cn_switch, "s");
	assert_false(cv->cv_nic[0].cn_mac_set);
	assert_int_equal(cv->cv_allow, 0);
	config_free(&cf);
}

static void
test_macros(void **state)
{
	static const struct config_macro macros[] = {
		{ "mem", "256M" }, { "words", "memory 64M" }
	}, bad[] = { { "a b", "c" } };
	struct config cf;
	struct err err;
	const char *path, *text = "mem=\"1G\"\nd = \"/a\"\nd2=$d '/c d'\n"
	    "n=2\nvm a {\nmemory $mem\ndisk \"$d\"\ndisk $d/x$y\n"
	    "disk '/$d'\ndisk $d2\ninterfaces $n\n}\nvm b {\n$words\n}";

	(void)state;
	path = file_of("vm.conf", text, strlen(text));
	assert_int_equal(config_read(&cf, path, bad, 1, false, NULL, NULL,
	    &err), -1);
	assert_string_equal(err.e_text, "-D: \"a b\" is no name of a macro; "
	    "use letters, digits and _");
	if (config_read(&cf, path, macros, 2, false, NULL, NULL, &err) == -1)
		fail_msg("%s", err.e_text);
	assert_int_equal(cf.cf_vm[0]->cv_memory, 256 * MIB);
	assert_string_equal(cf.cf_vm[0]->cv_disk[0].cd_path, at("$d"));
	assert_string_equal(cf.cf_vm[0]->cv_disk[1].cd_path, "/a/x$y");
	assert_string_equal(cf.cf_vm[0]->cv_disk[2].cd_path, "/$d");
	/* a value is read again, word by word */
	assert_string_equal(cf.cf_vm[0]->cv_disk[3].cd_path, "/a/cd");
	assert_int_equal(cf.cf_vm[0]->cv_nnics, 2);
	assert_int_equal(cf.cf_vm[1]->cv_memory, 64 * MIB);
	config_free(&cf);
}

static void
test_include(void **state)
{
	static const char inner[] = "m=64M\nvm in { memory $m\ndisk here\n"
	    "disk qcow2:there\ndisk nbd://there }";
	char path[300];
	struct config cf;
	struct err err;

	(void)state;
	assert_int_equal(mkdir(at("sub"), 0700), 0);
	file_of("sub/inner", inner, sizeof(inner) - 1);
	good(&cf, "include \"sub/inner\"\nvm out { memory $m }\n");
	assert_int_equal(cf.cf_nvms, 2);
	assert_string_equal(cf.cf_vm[0]->cv_name, "in");
	assert_string_equal(cf.cf_vm[0]->cv_disk[0].cd_path, at("sub/here"));
	snprintf(path, sizeof(path), "qcow2:%s", at("sub/there"));
	assert_string_equal(cf.cf_vm[0]->cv_disk[1].cd_path, path);
	assert_string_equal(cf.cf_vm[0]->cv_disk[2].cd_path, "nbd://there");
	assert_int_equal(cf.cf_vm[1]->cv_memory, 64 * MIB);
	config_free(&cf);
	/* a mistake has the included file's name and line */
	file_of("sub/inner", "\n\nbad\n", 6);
	assert_int_equal(read_text(&cf, "include \"sub/inner\"\nbad2\n", &err),
	    -1);
	assert_non_null(strstr(err.e_text, "sub/inner:3: syntax error near "));
	assert_non_null(strstr(said, "vm.conf:2: syntax error near "));
	/* a block does not go on behind its file */
	file_of("sub/inner", "vm a {\n", 7);
	assert_int_equal(read_text(&cf, "include \"sub/inner\"\n}\n", &err),
	    -1);
	assert_non_null(strstr(err.e_text, "near \"end of file\""));
	assert_int_equal(read_text(&cf, "include \"vm.conf\"\n", &err), -1);
	assert_non_null(strstr(err.e_text, "more than 16 deep"));
}

/* Each mistake is told, at its line; none hides another or makes one up. */
static void
test_all_mistakes(void **state)
{
	static const char text[] =
	    "vm \"a\" {\n"				/* 1 */
	    "\tmemory 512M\n"
	    "\tmemory 1G\n"				/* 3: twice */
	    "\tdisk\n"					/* 4: no path */
	    "\tinterface { bar\n"			/* 5: in a block */
	    "\t\tswitch \"x\"\n"
	    "\t}\n"
	    "\tcpus 65\n"				/* 8 */
	    "\tinterface { up }\n"
	    "}\n"
	    "vm b, c {\n"				/* 11: the head */
	    "\tmemory 1M\n"
	    "\tinterface { up\n }\n"
	    "}\n"
	    "vm \"x\" instance nope { }\n"		/* 16 */
	    "local prefix 1.2.3.4\n"			/* 17 */
	    "x = \"unclosed\n"				/* 18 */
	    "y = $undef\n"				/* 19 */
	    "include \"nonexistent\"\n"			/* 20 */
	    "vm ok {\n}\n"
	    "vm 12 { boot \"nonexistent\" }\n"		/* 23: both */
	    "vm ok { memory }\n"			/* 24: both */
	    "oops";					/* 25 */
	static const unsigned lines[] = { 4, 5, 8, 11, 16, 17, 18, 19, 20, 23,
	    23, 24, 24, 25 };
	char want[320], *line, *rest = said;
	struct config cf;
	struct err err;
	size_t i;

	(void)state;
	assert_int_equal(read_text(&cf, text, &err), -1);
	assert_non_null(strstr(err.e_text, "vm.conf:3: \"memory\" is said more "
	    "than once"));
	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		snprintf(want, sizeof(want), "%s:%u: ", at("vm.conf"),
		    lines[i]);
		line = strsep(&rest, "\n");
		if (line == NULL || strncmp(line, want, strlen(want)) != 0)
			fail_msg("expected %s got %s", want, line);
	}
	assert_string_equal(rest, "");
	assert_int_equal(cf.cf_nvms, 0);
}

static void
test_mistakes(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "vm a { memory 1023K }", "expected a size from 1M to 32G" },
		{ "vm a { memory 33G }", "expected a size from 1M to 32G" },
		{ "vm a { memory 99999999999999999999T }", "expected a size" },
		{ "vm a { memory 16777216T }", "expected a size" },
		{ "vm a { memory 1X }", "expected a size" },
		{ "vm a { memory -1 }", "expected a size" },
		{ "vm a { cpus 0 }", "from 1 to 64 for \"cpus\"" },
		{ "vm a { interfaces 5 }", "from 0 to 4" },
		{ "vm a { disk /a format vmdk }", "expected raw or qcow2" },
		{ "vm a { disk /1\ndisk /2\ndisk /3\ndisk /4\ndisk /5 }",
		    ":5: a VM has at most 4 disks" },
		{ "vm a { interface\ninterface\ninterface\ninterface\n"
		    "interface switch s\n}", ":5: a VM has at most 4 inter" },
		{ "vm a { disk \"\" }", "\"disk\" needs the name of a file" },
		{ "vm a { boot /nonexistent }", "No such file" },
		{ "vm a { cdrom /a\ncdrom /b }", ":2: \"cdrom\" is said more" },
		{ "vm a { boot device disk\nboot device net }", ":2: \"boot "
		    "device\" is said more" },
		{ "vm a { boot device floppy }", "expected cdrom, disk or net" },
		{ "vm a { owner \"no such user\" }", "no user is called" },
		{ "vm a { owner root:nosuchgroup }", "no group is called" },
		{ "vm a { owner \":\" }", "an owner is a user" },
		{ "vm a { owner 4294967295 }", "no user is called" },
		{ "vm a { interface lladdr 01:00:00:00:00:00 }",
		    "no station's address" },
		{ "vm a { interface lladdr fe:e1:bb:d1:c4 }",
		    "no station's address" },
		{ "vm a { interface mtu 1279 }", "from 1280 to 9000 for "
		    "\"mtu\"" },
		{ "switch s { mtu 9001 }", "from 1280 to 9000" },
		{ "switch s { }\nvm a { interface switch s mtu 1501 }",
		    "an MTU of 1501 on the switch \"s\" of 1500" },
		{ "vm a { interface group g1 }", "must not end in a digit" },
		{ "vm a { interface group a/b }", "is no name for \"group\"" },
		{ "vm a { interface { network bridge } }", "is no network" },
		{ "vm a { local interface { network user } }", "neither" },
		{ "vm a { interface { network user switch s } }",
		    "neither switch nor tap" },
		{ "vm a { interface switch s forward tcp 1 to 2 }",
		    "\"forward\" is for" },
		{ "vm a { interface switch s bootfile b }",
		    "\"bootfile\" is for" },
		{ "vm a { local interface tftp / }", "\"tftp\" is for" },
		{ "vm a { interface bootfile a bootfile b }",
		    "said more than once" },
		{ "vm a { interface forward tcp 0 to 2 }", "bad \"forward\"" },
		{ "vm a { interface forward sctp 1 to 2 }", "bad \"forward\"" },
		{ "vm a { interface forward tcp 1 at 2 }", "bad \"forward\"" },
		{ "vm a { interface forward tcp h:1 to 2 }", "bad \"forward\"" },
		{ "vm a { interface forward tcp 1 to 65536 }", "bad \"forw" },
		{ "vm -a { }", "first character" },
		{ "vm a { }\nvm a { }", ":2: there is a VM \"a\" already" },
		{ "switch a { }\nswitch a { }", ":2: there is a switch \"a\"" },
		{ "vm a instance a { }", "there is no VM \"a\" above" },
		{ "vm a { disk /x }\nvm b instance a { disk /x }",
		    "the disk /x is that of a" },
		{ "switch a { interface br0\nnat }", "has no \"nat\"" },
		{ "switch a { memory 1M }", "near \"memory\": expected" },
		{ "local prefix 1.2.3.4/0", "expected a prefix" },
		{ "local prefix 1.2.3.4/25", "expected a prefix" },
		{ "local prefix 1.2.3/8", "is no IPv4 address" },
		{ "local inet6 prefix fd00::/65", "expected a prefix" },
		{ "local inet6 prefix x/64", "is no IPv6 address" },
		{ "staggered start parallel 0 delay 1", "from 1 to 1024" },
		{ "a-b=1", "is no name of a macro" },
		{ "x=$", "$ needs the name of a macro" },
		{ "vm a\"b { }", "a quote in the middle of a word" },
		{ "vm 'a { }", "a quote is not closed in its line" },
		{ "vm a { }\r\n", "a carriage return" },
		{ "vm \001 { }", "a control character" },
		{ "x='\001'", "a control character in quotes" },
		{ "vm ( { }", "near \"(\": expected" },
		{ "}", "near \"}\": expected" },
		{ "vm a {", "near \"end of" },
		{ "vm a { interface {", "near \"end of file\"" },
	};
	struct config cf;
	struct err err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (read_text(&cf, cases[i].text, &err) != -1)
			fail_msg("accepted: %s", cases[i].text);
		if (strstr(err.e_text, cases[i].why) == NULL)
			fail_msg("%s: %s", cases[i].text, err.e_text);
		assert_int_equal(cf.cf_nvms, 0);
	}
}

static void
test_limits(void **state)
{
	struct config cf;
	struct err err;
	size_t n, i;
	char *text;

	(void)state;
	/* a word of 4095 bytes, and one more */
	text = malloc(2 << 20);
	assert_non_null(text);
	n = (size_t)sprintf(text, "vm a { disk /");
	memset(text + n, 'x', 4094);
	strcpy(text + n + 4094, " }");
	good(&cf, text);
	config_free(&cf);
	strcpy(text + n + 4094, "x }");
	assert_int_equal(read_text(&cf, text, &err), -1);
	assert_non_null(strstr(err.e_text, "longer than 4095"));
	strcpy(text + n + 4090, " xxxxxx }");
	assert_int_equal(read_text(&cf, text, &err), -1);
	assert_non_null(strstr(err.e_text, "a text is longer"));
	for (n = i = 0; i < 512; i++)
		n += (size_t)sprintf(text + n, "vm a%zu { }\n", i);
	good(&cf, text);
	assert_int_equal(cf.cf_nvms, 512);
	config_free(&cf);
	sprintf(text + n, "vm b { }\n");
	assert_int_equal(read_text(&cf, text, &err), -1);
	assert_non_null(strstr(err.e_text, ":513: there are more than 512"));
	/* mistakes are told until it is enough */
	memset(text, '\n', 1000);
	for (i = 0; i < 1000; i += 2)
		text[i] = '}';
	text[1000] = '\0';
	assert_int_equal(read_text(&cf, text, &err), -1);
	for (n = 0, i = 0; said[i] != '\0'; i++)
		n += said[i] == '\n';
	assert_int_equal(n, 50);
	memset(text, '#', 1 << 20);
	text[1 << 20] = '\0';
	good(&cf, text);
	config_free(&cf);
	strcpy(text + (1 << 20), "#");
	assert_int_equal(read_text(&cf, text, &err), -1);
	assert_non_null(strstr(err.e_text, "File too large"));
	free(text);
}

static void
test_files(void **state)
{
	struct config cf;
	struct err err;

	(void)state;
	assert_int_equal(config_read(&cf, dir, NULL, 0, true, NULL, NULL, &err),
	    -1);
	assert_non_null(strstr(err.e_text, "Is a directory"));
	assert_int_equal(config_read(&cf, at("none"), NULL, 0, true, NULL, NULL,
	    &err), -1);
	assert_non_null(strstr(err.e_text, "No such file"));
	assert_int_equal(config_read(&cf, file_of("nul", "vm a {\0}\n", 9),
	    NULL, 0, true, NULL, NULL, &err), -1);
	assert_non_null(strstr(err.e_text, "nul:1: a NUL byte"));
}

/* The file that is installed, and what OpenBSD's own looks like. */
static void
test_examples(void **state)
{
	static const char openbsd[] =
	    "# Macros\nsets=\"/var/www/htdocs/pub/OpenBSD/snapshots/amd64/\"\n"
	    "\n# Virtual switches\nswitch \"uplink\" {\n"
	    "\t# This interface will default to bridge0, but switch(4) is "
	    "supported\n\tinterface bridge0\n}\n\nswitch \"local\" {\n"
	    "\tinterface bridge1\n\tdown\n}\n\n"
	    "# OpenBSD snapshot install test\nvm \"openbsd.vm\" {\n"
	    "\tdisable\n\tmemory 1G\n\tboot $sets \"bsd.rd\"\n"
	    "\tdisk \"/home/vm/OpenBSD.img\"\n"
	    "\towner root\n\n"
	    "\t# First interface added to bridge \"uplink\"\n"
	    "\tinterface { switch \"uplink\" }\n\n"
	    "\t# Second interface added to bridge \"local\"\n"
	    "\tinterface { switch \"local\" }\n}\n\n"
	    "# Another VM that is disabled on startup\n"
	    "vm \"vm1.example.com\" {\n\tdisable\n\tmemory 512M\n"
	    "\tdisk \"/home/vm/vm1.img\"\n\tdisk \"/home/vm/vm1-data.img\"\n"
	    "\tinterface tap4 {\n\t\tlladdr fe:e1:ba:d0:00:04\n"
	    "\t\tswitch \"uplink\"\n\t}\n}\n";
	const struct config_vm *cv;
	struct config cf;
	struct err err;
	const char *path;

	(void)state;
	said[0] = '\0';
	if (config_read(&cf, "examples/vm.conf", NULL, 0, true, more, NULL,
	    &err) == -1)
		fail_msg("%s", err.e_text);
	assert_string_equal(said, "");
	assert_int_equal(cf.cf_nvms, 5);
	cv = config_find_vm(&cf, "debian");
	assert_string_equal(cv->cv_disk[0].cd_path,
	    "/var/lib/vmd/debian.qcow2");
	config_free(&cf);
	path = file_of("vm.conf", openbsd, sizeof(openbsd) - 1);
	if (config_read(&cf, path, NULL, 0, false, more, NULL, &err) == -1)
		fail_msg("%s", err.e_text);
	assert_string_equal(said, "");
	cv = config_find_vm(&cf, "openbsd.vm");
	assert_string_equal(cv->cv_boot,
	    "/var/www/htdocs/pub/OpenBSD/snapshots/amd64/bsd.rd");
	assert_int_equal(cv->cv_nnics, 2);
	cv = config_find_vm(&cf, "vm1.example.com");
	assert_string_equal(cv->cv_nic[0].cn_tap, "tap4");
	config_free(&cf);
}

static int
set_up(void **state)
{
	(void)state;
	return (mkdtemp(dir) == NULL ? -1 : 0);
}

static int
clean_up(void **state)
{
	static const char *const files[] = { "vm.conf", "kernel", "nul",
	    "sub/inner", "sub" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		remove(at(files[i]));
	return (rmdir(dir));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_vm),
		cmocka_unit_test(test_interfaces),
		cmocka_unit_test(test_switches),
		cmocka_unit_test(test_instances),
		cmocka_unit_test(test_macros),
		cmocka_unit_test(test_include),
		cmocka_unit_test(test_all_mistakes),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_examples),
	};

	return (cmocka_run_group_tests(tests, set_up, clean_up));
}
