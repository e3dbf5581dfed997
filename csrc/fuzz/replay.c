/* Runs a fuzz target over the files that are named, in place of libFuzzer; with `-n COUNT` in front also over as many mutations
 * of each, always the same ones. A run that takes longer than 20 seconds is a failure. */
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define GROWTH 64
#define RUN_SECONDS 20

static uint64_t state;
static const char *current;
static long mutation;

static uint32_t next(uint32_t below) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (uint32_t)(state >> 16) % below;
}

/* What to look for when a sanitizer ends the run. */
static void say_where(void) { fprintf(stderr, "in %s, mutation %ld\n", current, mutation); }

static void late(int number) {
    (void)number;
    say_where();
    abort();
}

static size_t mutate(uint8_t *data, size_t size, size_t room) {
    static const uint32_t numbers[] = {0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x20000, 0x7fffffff, 0x80000000, 0xffffffff};
    for (uint32_t i = 1 + next(4); i && size; i--) {
        uint32_t at = next((uint32_t)size), n = 1 + next(8);
        if (n > size - at) n = (uint32_t)size - at;
        switch (next(6)) {
        case 0: data[at] ^= (uint8_t)(1u << next(8)); break;
        case 1: data[at] = (uint8_t)next(256); break;
        case 2: memcpy(data + at, &numbers[next(12)], n < 4 ? n : 4); break;
        case 3: memmove(data + at, data + at + n, size - at - n), size -= n; break;
        case 4:
            if (size + n > room) break;
            memmove(data + at + n, data + at, size - at), size += n;
            break;
        default: size = next(4) ? size : at; break;
        }
    }
    return size;
}

static void run(const uint8_t *data, size_t size) {
    uint8_t *exact = malloc(size ? size : 1); /* of its size, so that the sanitizer sees a read beyond */
    if (!exact) abort();
    memcpy(exact, data, size);
    alarm(RUN_SECONDS);
    LLVMFuzzerTestOneInput(exact, size);
    alarm(0);
    free(exact);
}

static int replay(const char *name, long count) {
    current = name;
    FILE *f = fopen(name, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) return perror(name), 1;
    size_t size = (size_t)ftell(f);
    rewind(f);
    uint8_t *seed = malloc(size + 1), *changed = malloc(size + GROWTH);
    if (!seed || !changed || fread(seed, 1, size, f) != size) return perror(name), 1;
    fclose(f);
    mutation = 0;
    run(seed, size);
    for (mutation = 1; mutation <= count; mutation++) {
        state = 0x9e3779b97f4a7c15u * (uint64_t)(mutation + 1) + size;
        memcpy(changed, seed, size);
        run(changed, mutate(changed, size, size + GROWTH));
    }
    free(seed);
    free(changed);
    return 0;
}

int main(int argc, char **argv) {
    int first = 1;
    long count = 0;
    if (argc > 2 && strcmp(argv[1], "-n") == 0) count = strtol(argv[2], NULL, 10), first = 3;
    signal(SIGALRM, late);
#ifdef __SANITIZE_ADDRESS__
    void __sanitizer_set_death_callback(void (*)(void));
    __sanitizer_set_death_callback(say_where);
#endif
    for (int i = first; i < argc; i++)
        if (replay(argv[i], count)) return 1;
    printf("%d inputs, %ld mutations of each\n", argc - first, count);
    return 0;
}
