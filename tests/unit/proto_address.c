/* Addresses, ids and names as text. */
#include "test.h"

#include "address.h"
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct address address;
static char why[512];

static void expect_round_trip(const char *text, const char *back, int kind, int loopback)
{
	char formatted[128];

	assert_int_equal(address_parse(text, &address, why, sizeof(why)), 0);
	assert_int_equal(address.kind, kind);
	assert_int_equal(address.loopback, loopback);
	assert_string_equal(address_format(&address.sockaddr, address.length, formatted, sizeof(formatted)), back);
}

static void addresses_are_read_and_written(void **state)
{
	(void)state;
	expect_round_trip("unix:/run/brood/socket", "unix:/run/brood/socket", ADDRESS_UNIX, 0);
	expect_round_trip("fifo:/run/user/1000/brood", "fifo:/run/user/1000/brood", ADDRESS_FIFO, 0);
	expect_round_trip("tcp://127.0.0.1:7433", "tcp://127.0.0.1:7433", ADDRESS_TCP, 1);
	expect_round_trip("tcp://127.9.9.9:0", "tcp://127.9.9.9:0", ADDRESS_TCP, 1);
	expect_round_trip("tcp://localhost:65535", "tcp://127.0.0.1:65535", ADDRESS_TCP, 1);
	expect_round_trip("tcp://10.0.0.1:1", "tcp://10.0.0.1:1", ADDRESS_TCP, 0);
	expect_round_trip("tcp://[::1]:7433", "tcp://[::1]:7433", ADDRESS_TCP, 1);
	expect_round_trip("tcp://[2001:db8::7]:7433", "tcp://[2001:db8::7]:7433", ADDRESS_TCP, 0);
}

/* by_name: it is not known yet where that is. */
static void expect_tls(const char *text, const char *host, int by_name, const char *back)
{
	char formatted[128];

	assert_int_equal(address_parse(text, &address, why, sizeof(why)), 0);
	assert_int_equal(address.kind, ADDRESS_TLS);
	assert_int_equal(address.port, 7433);
	assert_string_equal(address.host, host);
	assert_int_equal(address.length == 0, by_name);
	assert_string_equal(address_text(&address, formatted, sizeof(formatted)), back);
}

/* The host stays as it was written: a certificate must be for it. */
static void tls_addresses_have_names(void **state)
{
	(void)state;
	expect_tls("tls://10.0.0.1:7433", "10.0.0.1", 0, "tls://10.0.0.1:7433");
	expect_tls("tls://[::1]:7433", "::1", 0, "tls://[::1]:7433");
	assert_int_equal(address.loopback, 1);
	expect_tls("tls://localhost:7433", "localhost", 0, "tls://127.0.0.1:7433");
	assert_int_equal(address.loopback, 1);
	expect_tls("tls://LocalHost.:7433", "LocalHost.", 0, "tls://127.0.0.1:7433");
	expect_tls("tls://broker.example:7433", "broker.example", 1, "tls://broker.example:7433");
	assert_int_equal(address.loopback, 0);
	expect_tls("tls://Broker.Example.:7433", "Broker.Example.", 1, "tls://Broker.Example.:7433");
	expect_tls("tls://xn--bcher-kva.example:7433", "xn--bcher-kva.example", 1, "tls://xn--bcher-kva.example:7433");
	expect_tls("tls://4u.example:7433", "4u.example", 1, "tls://4u.example:7433");
}

static void bad_addresses_are_explained(void **state)
{
	static const char *const bad[][2] = {
		{ "", "unknown kind" },
		{ "/run/brood", "unknown kind" },
		{ "tls://host", "no port" },
		{ "tls://host:65536", "not a port" },
		{ "tls://:1", "neither a host" },
		{ "tls://10.0.0:1", "neither a host" },
		{ "tls://256.0.0.1:1", "neither a host" },
		{ "tls://::1:1", "neither a host" },
		{ "tls://[host]:1", "neither a host" },
		{ "tls://a..b:1", "neither a host" },
		{ "tls://.b:1", "neither a host" },
		{ "tls://-a:1", "neither a host" },
		{ "tls://a-:1", "neither a host" },
		{ "tls://a_b:1", "neither a host" },
		{ "tls://b\xc3\xbc"
		  "cher.example:1",
		  "neither a host" },
		{ "tls://*.example:1", "neither a host" },
		{ "tls://user@host:1", "neither a host" },
		{ "unix:", "not absolute" },
		{ "unix:brood.sock", "not absolute" },
		{ "tcp://127.0.0.1", "no port" },
		{ "tcp://", "no port" },
		{ "tcp://127.0.0.1:", "not a port" },
		{ "tcp://127.0.0.1:65536", "not a port" },
		{ "tcp://127.0.0.1:123456", "not a port" },
		{ "tcp://127.0.0.1:1x", "not a port" },
		{ "tcp://127.0.0.1:-1", "not a port" },
		{ "tcp://example.org:1", "not looked up" },
		{ "tcp://::1:7433", "not looked up" },
		{ "tcp://[::1]", "no port" },
		{ "tcp://[:1", "no port" },
		{ "tcp://[127.0.0.1]:1", "not looked up" },
		{ "tcp://123456789012345678901234567890123456789012345678901234567890123456789012:1", "too long" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(address_parse(bad[i][0], &address, why, sizeof(why)), -EINVAL);
		assert_non_null(strstr(why, bad[i][1]));
		assert_null(strchr(why, '\n'));
	}
}

static void unix_paths_have_a_longest(void **state)
{
	char text[5 + 109] = "unix:/";

	(void)state;
	memset(text + 6, 'p', 106);
	assert_int_equal(address_parse(text, &address, why, sizeof(why)), 0);
	text[112] = 'p';
	assert_int_equal(address_parse(text, &address, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "longer than 107 bytes"));
}

static void the_reason_fits_its_buffer(void **state)
{
	char small[9] = "12345678";

	(void)state;
	assert_int_equal(address_parse("nonsense", &address, small, 8), -EINVAL);
	assert_int_equal(small[7], '\0');
	assert_int_equal(small[8], '\0');
}

static void a_socket_without_a_path_has_a_text(void **state)
{
	struct sockaddr_storage none = { .ss_family = AF_UNIX };
	char text[32];

	(void)state;
	assert_string_equal(address_format(&none, sizeof(sa_family_t), text, sizeof(text)), "unix:");
}

static void ids_are_read_and_written(void **state)
{
	char text[ID_TEXT];
	uint64_t id;

	(void)state;
	assert_string_equal(id_format(0x65f2a1b000000003, text), "65f2a1b0.3");
	assert_int_equal(id_parse("65f2a1b0.3", &id), 0);
	assert_int_equal(id, 0x65f2a1b000000003);
	assert_string_equal(id_format(UINT64_MAX, text), "ffffffff.4294967295");
	assert_int_equal(id_parse(text, &id), 0);
	assert_int_equal(id, UINT64_MAX);
}

static void other_texts_are_no_ids(void **state)
{
	static const char *const bad[] = { "",     "1",    "1.",          ".1",           "0.1",
					   "1.0",  "01.1", "1.01",        "A.1",          "g.1",
					   "1.1 ", "1.x",  "100000000.1", "1.4294967296", "1.99999999999999999999",
					   "1-1",  "1.-1", "1..1" };
	uint64_t id = 7;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(id_parse(bad[i], &id), -EINVAL);
	assert_int_equal(id, 7);
}

static void names_are_checked(void **state)
{
	static const char *const good[] = {
		"a",   "resize",  "_x",
		"0",   "a.b-c_d", "65f2a1b0",
		"1.0", "x.1",     "123456789012345678901234567890123456789012345678901234567890123"
	};
	static const char *const bad[] = { "",
					   ".a",
					   "-a",
					   "A",
					   "a b",
					   "a/b",
					   "@broker",
					   "\303\244",
					   "65f2a1b0.3",
					   "a.1",
					   "1234567890123456789012345678901234567890123456789012345678901234" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(name_is_valid(good[i]));
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(name_is_valid(bad[i]));
}

static void the_private_directory_is_found(void **state)
{
	char to[64], expected[64];

	(void)state;
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	assert_string_equal(address_private_directory(to, sizeof(to)), "/run/user/7/brood");
	assert_null(address_private_directory(to, 17));
	setenv("XDG_RUNTIME_DIR", "relative", 1);
	snprintf(expected, sizeof(expected), "/tmp/brood-%u", (unsigned)getuid());
	assert_string_equal(address_private_directory(to, sizeof(to)), expected);
	unsetenv("XDG_RUNTIME_DIR");
	assert_string_equal(address_private_directory(to, sizeof(to)), expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_and_written),
		cmocka_unit_test(tls_addresses_have_names),
		cmocka_unit_test(bad_addresses_are_explained),
		cmocka_unit_test(unix_paths_have_a_longest),
		cmocka_unit_test(the_reason_fits_its_buffer),
		cmocka_unit_test(a_socket_without_a_path_has_a_text),
		cmocka_unit_test(ids_are_read_and_written),
		cmocka_unit_test(other_texts_are_no_ids),
		cmocka_unit_test(names_are_checked),
		cmocka_unit_test(the_private_directory_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
