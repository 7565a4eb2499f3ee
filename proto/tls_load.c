/*
 * tls_load: finds libbrood-tls.so.0 beside this library (in its folder "brood"), or where it is installed, and checks that
 * both are of one version: what passes between them is no public interface.
 */
#include "tls_load.h"
#include "beside.h"
#include <dlfcn.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define FILE_NAME "/brood/libbrood-tls.so.0"

__attribute__((format(printf, 2, 3))) static const struct tls_api *refuse(struct tls_fault *why, const char *format,
									  ...)
{
	va_list args;

	snprintf(why->name, sizeof(why->name), "tls.unavailable");
	va_start(args, format);
	(void)vsnprintf(why->text, sizeof(why->text), format, args);
	va_end(args);
	return NULL;
}

/* Of a library, and of a program that contains it: bin and lib are neighbours. */
static void find(char *to, size_t n)
{
	if (beside_find(FILE_NAME, R_OK, to, n) == 0 || beside_find("/../lib" FILE_NAME, R_OK, to, n) == 0 ||
	    beside_find("/" BROOD_BIN_TO_LIB FILE_NAME, R_OK, to, n) == 0)
		return;
	snprintf(to, n, "%s", BROOD_FULL_LIBDIR FILE_NAME);
}

const struct tls_api *tls_load(struct tls_fault *why)
{
	char path[PATH_MAX];
	const struct tls_api *api;
	void *file;

	find(path, sizeof(path));
	file = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
	if (!file)
		return refuse(why, "TLS cannot be loaded: %s", dlerror());
	api = dlsym(file, "brood_tls_api");
	dlclose(file); /* it stays, but is not counted */
	if (!api || strcmp(api->version, BROOD_VERSION) != 0)
		return refuse(why, "%s is of another version than this library, " BROOD_VERSION, path);
	return api;
}
