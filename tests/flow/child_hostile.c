#include "child_hostile.h"
int be_hostile(char **args)
{
	(void)args;
	return 0;
}
