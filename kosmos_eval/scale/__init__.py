"""Scale-out: a queue of work units in the driver, and workers that each hold one replica of the model.

`processes` does so on the cores of one machine. `dispatch` decides who asks what and knows no Ray; `ray_executor`,
`crew` and `cluster` carry it out on Ray; `replica` is what runs in a worker.
"""
