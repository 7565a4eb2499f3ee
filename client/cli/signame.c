/*
 * signame: the C library knows the names.
 */
#include "signame.h"
#include "cli.h"
#include <signal.h>
#include <string.h>
#include <strings.h>

int signame_number(const char *text)
{
	long number = cli_number(text, 1, NSIG - 1);
	if (number > 0)
		return (int)number;
	if (strncasecmp(text, "SIG", 3) == 0)
		text += 3;
	for (int signo = 1; signo < NSIG; signo++) {
		const char *name = sigabbrev_np(signo);
		if (name && strcasecmp(name, text) == 0)
			return signo;
	}
	return 0;
}
