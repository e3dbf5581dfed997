/* The daemon's side of nominate/1, shared by serve_digests.c and serve_peer.c. */
#ifndef PS_SERVE_H
#define PS_SERVE_H
#include "digest/index.h"
#include "wire/mux.h"
#include "filter/rules.h"

#include "api/frames_api.h"
#include "api/limits_api.h"
#include "api/serve_api.h"

#define SERVE_DATA_BYTES 61440u      /* of one data frame: whole pages, below PS_NOMINATE_DATA_BYTES */
#define SERVE_WANTED_BYTES (1u << 20)

/* Adds a file to the list for the indexer; what does not fit is asked for again by the client. */
void serve_want(ps_buf *wanted, u8 flags, const char *path, size_t len);
/* lstat beneath the root. */
int serve_stat(ps_root *root, const char *path, struct stat *st);

#endif
