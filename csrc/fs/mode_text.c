#include "fs/mode_text.h"

#include <sys/stat.h>

void perm_string(u32 mode, char out[11]) {
    for (int i = 0; i < 9; i++) out[i + 1] = mode & (0400u >> i) ? "rwx"[i % 3] : '-';
    if (mode & S_ISUID) out[3] = mode & S_IXUSR ? 's' : 'S';
    if (mode & S_ISGID) out[6] = mode & S_IXGRP ? 's' : 'S';
    if (mode & S_ISVTX) out[9] = mode & S_IXOTH ? 't' : 'T';
    out[0] = S_ISDIR(mode)    ? 'd'
             : S_ISLNK(mode)  ? 'l'
             : S_ISBLK(mode)  ? 'b'
             : S_ISCHR(mode)  ? 'c'
             : S_ISSOCK(mode) ? 's'
             : S_ISFIFO(mode) ? 'p'
                              : '-';
    out[10] = 0;
}
