/* Runs a fuzz target over the files that are named, in place of libFuzzer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        FILE *f = fopen(argv[i], "rb");
        if (!f || fseek(f, 0, SEEK_END) != 0) return perror(argv[i]), 1;
        long size = ftell(f);
        rewind(f);
        uint8_t *data = malloc((size_t)size + 1); /* of its size, so that the sanitizer sees a read beyond */
        if (!data || fread(data, 1, (size_t)size, f) != (size_t)size) return perror(argv[i]), 1;
        fclose(f);
        uint8_t *exact = malloc(size ? (size_t)size : 1);
        for (long at = 0; at < size; at++) exact[at] = data[at];
        free(data);
        LLVMFuzzerTestOneInput(exact, (size_t)size);
        free(exact);
    }
    printf("%d inputs\n", argc - 1);
    return 0;
}
