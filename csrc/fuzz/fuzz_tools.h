/* What fuzz targets share: a small tree of their own, and the draining of a context. Each target is one translation unit. */
#ifndef PS_FUZZ_TOOLS_H
#define PS_FUZZ_TOOLS_H
#include "core/context.h"
#include "api/flist_api.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void fuzz_put_file(int dir, const char *name, size_t size, u8 salt) {
    int fd = openat(dir, name, O_CREAT | O_TRUNC | O_WRONLY, 0644);
    if (fd < 0) abort();
    u8 block[1000];
    for (size_t at = 0; at < size; at += sizeof block) {
        size_t n = size - at < sizeof block ? size - at : sizeof block;
        for (size_t i = 0; i < n; i++) block[i] = (u8)((at + i) * 7 % 251 + salt);
        if (write(fd, block, n) != (ssize_t)n) abort();
    }
    struct timespec times[2] = {{1600000000, 0}, {1600000000, 0}};
    futimens(fd, times);
    close(fd);
}

/* A new directory in memory where there is such a place, else below /tmp; it is left to the system's cleaning. */
static inline int fuzz_folder(char path[64], const char *name) {
    snprintf(path, 64, "/dev/shm/%s.XXXXXX", name);
    if (!mkdtemp(path)) {
        snprintf(path, 64, "/tmp/%s.XXXXXX", name);
        if (!mkdtemp(path)) abort();
    }
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static inline void fuzz_drain(ps_ctx *c) {
    ps_ctx_log_clear(c);
    ps_ctx_events_clear(c);
}

/* Takes n bytes from the front; fewer are filled up with zeros. */
static inline void fuzz_take(const u8 **data, size_t *size, u8 *out, size_t n) {
    size_t have = *size < n ? *size : n;
    memset(out, 0, n);
    if (have) memcpy(out, *data, have);
    *data += have;
    *size -= have;
}
#endif
