"""What each task of the suite's present version holds, as a hash of every record and file name.

A new checkpoint may be trained for a frozen suite; a suite is never changed for a checkpoint. Whoever changes what is
generated raises MINI_VERSION and writes new hashes here. Pixels are hashed apart (in the marker), since they may differ
in their last bit between versions of Pillow.
"""

from __future__ import annotations

FROZEN = {
    "rendered_sst2": "c47cef459f60198cf2d67aa2d4effb0a",
    "hateful_memes": "6b1a60c237566e12092f29e06d7e0422",
    "vqav2": "4aebb3e2d60062d043d659ba91796232",
    "flickr30k": "e82f167cf71737d78989c44d58526385",
    "vizwiz": "693def38876c3262438887c945eda900",
    "raven_iq": "d2075118f039837cffb27fca9eab15b9",
}
