/* The names in one directory after the other, read into one buffer. */
#ifndef PS_DIR_NAMES_H
#define PS_DIR_NAMES_H
#include "core/bytes.h"

/* opendir allocates, asks for the descriptor's flags and state, and frees again, for each directory; a tree has many. */
typedef struct dir_names dir_names;
dir_names *dir_names_new(void); /* NULL: memory */
void dir_names_free(dir_names *d);
bool dir_names_open(dir_names *d, int fd); /* takes an open directory over, also where it fails (errno) */
int dir_names_fd(const dir_names *d);      /* while one is open */
/* The next name but "." and "..", valid until the next call. NULL: the end (errno 0), or an error (errno). */
const char *dir_names_next(dir_names *d);
void dir_names_close(dir_names *d);
#endif
