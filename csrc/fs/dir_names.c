#include "fs/dir_names.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

static bool is_dots(const char *name) { return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])); }

#ifdef SYS_getdents64
#define BUFFER_SIZE (128u * 1024u)

/* What the kernel writes (getdents(2)); records begin at multiples of 8. */
typedef struct record {
    u64 inode;
    i64 offset;
    u16 length;
    u8 type;
    char name[];
} record;

struct dir_names {
    int fd; /* -1: none is open */
    size_t at, len;
    _Alignas(8) u8 buffer[BUFFER_SIZE];
};

dir_names *dir_names_new(void) {
    dir_names *d = malloc(sizeof *d);
    if (d) d->fd = -1;
    return d;
}

bool dir_names_open(dir_names *d, int fd) {
    d->fd = fd;
    d->at = d->len = 0;
    return true;
}

int dir_names_fd(const dir_names *d) { return d->fd; }

const char *dir_names_next(dir_names *d) {
    for (;;) {
        if (d->at == d->len) {
            long got = syscall(SYS_getdents64, d->fd, d->buffer, sizeof d->buffer);
            d->at = 0;
            d->len = got > 0 ? (size_t)got : 0;
            if (got == 0) errno = 0;
            if (got < 0 && errno == ENOENT) errno = 0; /* it was removed: as readdir has it */
            if (got <= 0) return NULL;
        }
        const record *r = (const record *)(const void *)(d->buffer + d->at);
        d->at += r->length;
        if (!is_dots(r->name)) return r->name;
    }
}

void dir_names_close(dir_names *d) {
    if (d->fd >= 0) close(d->fd);
    d->fd = -1;
}
#else
struct dir_names {
    DIR *dir;
};

dir_names *dir_names_new(void) { return calloc(1, sizeof(dir_names)); }

bool dir_names_open(dir_names *d, int fd) {
    d->dir = fdopendir(fd);
    if (!d->dir) close(fd);
    return d->dir;
}

int dir_names_fd(const dir_names *d) { return dirfd(d->dir); }

const char *dir_names_next(dir_names *d) {
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(d->dir);
        if (!e || !is_dots(e->d_name)) return e ? e->d_name : NULL;
    }
}

void dir_names_close(dir_names *d) {
    if (d->dir) closedir(d->dir);
    d->dir = NULL;
}
#endif

void dir_names_free(dir_names *d) {
    if (!d) return;
    dir_names_close(d);
    free(d);
}
