/*
 * lookup: where a program's file may be, by the rules of execvp(3).
 */
#ifndef BROOD_LOOKUP_H
#define BROOD_LOOKUP_H

/*
 * The paths to try in turn, NULL-ended, at least one: `file` itself if it has a slash (or is empty, which exec
 * refuses), else `file` in each directory of the PATH in `env`; without a PATH there, in /bin and /usr/bin. An empty
 * directory is the current one. Pure. One block, to be freed with free(); it may point to `file`. NULL: no memory.
 */
const char **lookup_paths(const char *file, const char *const *env);

#endif
