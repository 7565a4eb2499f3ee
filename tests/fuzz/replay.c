/*
 * replay: gives a target every file named on the command line, or in the directories named there. A run that found no
 * file fails: it would prove nothing.
 */
#include "target.h"
#include <dirent.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

static unsigned replayed;

static int replay_file(const char *path, size_t size)
{
	uint8_t *bytes = malloc(size ? size : 1);
	FILE *f = fopen(path, "rb");
	int ok = bytes && f && fread(bytes, 1, size, f) == size;

	if (f)
		fclose(f);
	if (ok) {
		LLVMFuzzerTestOneInput(bytes, size);
		replayed++;
	}
	free(bytes);
	return ok;
}

static int replay(const char *path);

static int replay_directory(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *entry;
	int ok = d != NULL;

	while (ok && (entry = readdir(d))) {
		char inner[PATH_MAX];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		ok = replay(inner);
	}
	if (d)
		closedir(d);
	return ok;
}

static int replay(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return 0;
	return S_ISDIR(st.st_mode) ? replay_directory(path) : replay_file(path, (size_t)st.st_size);
}

int main(int argc, char **argv)
{
	int i;

	for (i = 1; i < argc; i++) {
		if (!replay(argv[i])) {
			fprintf(stderr, "cannot read %s\n", argv[i]);
			return 1;
		}
	}
	printf("%u inputs replayed\n", replayed);
	return replayed > 0 ? 0 : 1;
}
