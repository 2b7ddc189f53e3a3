"""Live streams and video on demand: RTMP in, HLS and DASH out. Loaded by the two media processes alone.

Where to look, from the outside to the inside:

- the processes: ``process`` (entry), ``messages`` (to and from the balancer), ``http_server`` and ``http_answers``
  (viewers, by the balancer's routes), ``rtmp_server`` (publishers and players)
- live: ``live_apps`` (who may publish, play and view what), ``served_stream`` (a stream, its publisher, its players),
  ``live_resources`` (addresses to responses), ``live_playlists`` and ``live_manifest`` (what HLS and DASH list),
  ``ladder``; ``publish_keys``, ``hooks``; ``stream_timelines`` and ``known_numbers`` (where numbers go on)
- from a publisher's frames to segments: ``live_stream`` (over all publishers), ``live_run`` (one of them), ``timeline``
  (clock and numbers), ``audio_samples``, ``cutter`` with ``audio_cuts`` and ``open_segment``, ``live_tracks`` (what
  is kept)
- relays: ``player`` (a queue of frames), ``push``, ``pulls``, ``pull_waits``, ``rtmp_client``, ``rtmp_dialer``;
  ``rtmp/`` is the protocol without I/O
- disk: ``stream_recorder``, ``recording``, ``recording_file`` and ``recorded_movie`` (``record``); ``dvr`` and
  ``dvr_home`` (``dvr``); ``live_disk`` and ``disk`` (both)
- films: ``vod_apps``, ``vod_resources``, ``vod_titles`` (which are open), ``title_files``, ``title``, ``title_track``,
  ``vod_cuts``, ``vod_playlists``; how MP4 is read: ``index``, ``movie``, ``movie_fragments``, ``sample_table``,
  ``mp4_boxes``
- for both: ``frames`` (codecs, samples), ``fragment`` (fragmented MP4, by PyAV), ``flv``, ``hls`` and ``dash`` (the
  formats), ``iso_times``, ``responses``
"""
