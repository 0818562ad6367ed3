"""Where arrays live: meshes, sharding by shape, starting many processes, losses over a mesh."""
